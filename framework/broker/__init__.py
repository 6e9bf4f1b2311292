"""RabbitMQ through Celery; no other package imports celery, kombu or amqp."""
