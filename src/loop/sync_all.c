/* sync_all.c: one call to the kernel for what would be thousands of fsyncs. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "loop/disk_inside.h"

enum error disk_sync_all(struct disk *disk, const char *path)
{
    int fd;
    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && is_out_of_descriptors(errno) && disk_make_spare(disk));
    if (fd < 0) return error_from_errno(errno);
    enum error err = syncfs(fd) == 0 ? OK : ERR_IO; /* says so when writing back failed (Linux 5.8) */
    close(fd);
    return err;
}
