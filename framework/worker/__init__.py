"""A worker: the tasks that its host holds, and the devices that it hands out."""
