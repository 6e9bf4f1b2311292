/* LD_PRELOAD shim of forgetful_disk.py. For files and directories below FORGETFUL_ROOT, fsync() and fdatasync() keep in FORGETFUL_KEPT
 * what a power cut would leave:
 *   file-KEY        the bytes of a file
 *   directory-KEY   the names in a directory, a line each: type, key, mode in octal, name
 *   root            the key of FORGETFUL_ROOT
 * KEY is the inode and its time of birth, since inodes are used again. Nothing else survives: a file without the names on the way to
 * it is gone, a name without the bytes of its file is an empty file. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  abort();
}

static void key_of(int directory, const char *name, char *key, size_t size, unsigned *mode) {
  struct statx st;
  if (statx(directory, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st))
    fail("forgetful disk: statx");
  snprintf(key, size, "%llu-%lld.%u", (unsigned long long)st.stx_ino, (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
  *mode = st.stx_mode;
}

static FILE *begin(const char *kept, const char *kind, const char *key, char *path, char *part, size_t size) {
  snprintf(path, size, "%s/%s%s", kept, kind, key);
  snprintf(part, size, "%s/part-%d-%d", kept, getpid(), gettid());
  FILE *file = fopen(part, "we");
  if (!file)
    fail("forgetful disk: fopen");
  return file;
}

static void end(FILE *file, const char *path, const char *part) {
  if (fclose(file) || rename(part, path))
    fail("forgetful disk: rename");
}

static void keep(int descriptor) {
  const char *root = getenv("FORGETFUL_ROOT"), *kept = getenv("FORGETFUL_KEPT");
  char link[64], path[4096], key[80], to[4096], part[4096], buffer[65536];
  unsigned mode;
  if (!root || !kept)
    return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0)
    return;
  path[length] = 0;
  if (strncmp(path, root, strlen(root)) || (path[strlen(root)] && path[strlen(root)] != '/'))
    return;
  key_of(descriptor, "", key, sizeof key, &mode);
  if (S_ISDIR(mode)) {
    DIR *directory = opendir(link);
    if (!directory)
      fail("forgetful disk: opendir");
    FILE *file = begin(kept, "directory-", key, to, part, sizeof to);
    for (struct dirent *entry; (entry = readdir(directory));) {
      char child[80];
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
        continue;
      key_of(dirfd(directory), entry->d_name, child, sizeof child, &mode);
      fprintf(file, "%s %s %o %s\n", S_ISDIR(mode) ? "directory" : "file", child, mode & 07777, entry->d_name);
    }
    closedir(directory);
    end(file, to, part);
    if (!strcmp(path, root)) {
      file = begin(kept, "root", "", to, part, sizeof to);
      fputs(key, file);
      end(file, to, part);
    }
  } else if (S_ISREG(mode)) {
    int source = open(link, O_RDONLY | O_CLOEXEC);
    if (source < 0)
      return; /* deleted, or not to be read by this user */
    FILE *file = begin(kept, "file-", key, to, part, sizeof to);
    for (ssize_t count; (count = read(source, buffer, sizeof buffer)) > 0;)
      fwrite(buffer, 1, count, file);
    close(source);
    end(file, to, part);
  }
}

int fsync(int descriptor) {
  keep(descriptor);
  return 0;
}

int fdatasync(int descriptor) {
  keep(descriptor);
  return 0;
}
