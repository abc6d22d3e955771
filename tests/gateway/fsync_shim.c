/* Loaded with LD_PRELOAD, it notes after each fsync or fdatasync how many bytes of the file had been
   written before: FSYNC_NOTES/<name of the file>. What a power cut would have left is then known. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, off_t size) {
    const char *folder = getenv("FSYNC_NOTES");
    char link[64], path[PATH_MAX], name[2 * PATH_MAX], text[32];
    if (!folder)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    const char *slash = strrchr(path, '/');
    snprintf(name, sizeof name, "%s/%s", folder, slash ? slash + 1 : path);
    int out = open(name, O_CREAT | O_WRONLY, 0644);
    if (out < 0)
        return;
    int count = snprintf(text, sizeof text, "%-20lld", (long long)size);
    if (pwrite(out, text, count, 0) != count)
        abort();
    close(out);
}

static int sync_and_note(int (*sync_file)(int), int fd) {
    struct stat status;
    /* before the call: what is written while it runs may not be covered */
    int is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    int result = sync_file(fd);
    if (result == 0 && is_file)
        note(fd, status.st_size);
    return result;
}

int fsync(int fd) {
    return sync_and_note((int (*)(int))dlsym(RTLD_NEXT, "fsync"), fd);
}

int fdatasync(int fd) {
    return sync_and_note((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"), fd);
}
