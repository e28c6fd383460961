#include "keeper/process.h"

#include <dirent.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "metrics/metrics.h"

static void memory_mb(int pages_name, char out[32])
{
    long pages = sysconf(pages_name), size = sysconf(_SC_PAGESIZE);
    long long bytes = pages > 0 && size > 0 ? (long long)pages * size : 0;
    snprintf(out, 32, "%lldMB", bytes >> 20);
}

void process_environment(const char *version,
                         void (*each)(void *context, const char *name, const char *value), void *context)
{
    char host[256] = "localhost", directory[4096] = "", account[1024];
    if (gethostname(host, sizeof host - 1) != 0) slice_text(SLICE("localhost"), host, sizeof host);
    if (!getcwd(directory, sizeof directory)) directory[0] = 0;
    struct utsname system = {0};
    bool is_known = uname(&system) == 0;
    struct passwd entry, *user = NULL;
    if (getpwuid_r(getuid(), &entry, account, sizeof account, &user) != 0) user = NULL;
    char available[32], total[32];
    memory_mb(_SC_AVPHYS_PAGES, available);
    memory_mb(_SC_PHYS_PAGES, total);

    each(context, "zookeeper.version", version);
    each(context, "host.name", host);
    each(context, "java.version", "none"); /* there is no Java here, but who reads this expects the names */
    each(context, "java.vendor", "odradek");
    each(context, "java.home", "");
    each(context, "java.class.path", "");
    each(context, "java.library.path", "");
    each(context, "java.io.tmpdir", "/tmp");
    each(context, "java.compiler", "<NA>");
    each(context, "os.name", is_known ? system.sysname : "Linux");
    bool is_amd64 = !is_known || strcmp(system.machine, "x86_64") == 0;
    each(context, "os.arch", is_amd64 ? "amd64" : system.machine);
    each(context, "os.version", is_known ? system.release : "");
    each(context, "user.name", user ? user->pw_name : "");
    each(context, "user.home", user ? user->pw_dir : "");
    each(context, "user.dir", directory);
    each(context, "os.memory.free", available);
    each(context, "os.memory.max", total);
    each(context, "os.memory.total", total);
}

int64_t process_open_descriptors(void)
{
    /* Linux says so in the directory's size since 6.2; before, one has to count. */
    struct stat about;
    if (stat("/proc/self/fd", &about) == 0 && about.st_size > 0) return about.st_size;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return -1;
    int64_t count = -3; /* ".", ".." and the directory itself */
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

int64_t process_max_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT64_MAX) return -1;
    return (int64_t)limit.rlim_cur;
}

void process_user(char *out, size_t size)
{
    struct passwd entry, *user = NULL;
    char account[1024];
    if (getpwuid_r(getuid(), &entry, account, sizeof account, &user) != 0) user = NULL;
    snprintf(out, size, "%s", user ? user->pw_name : "");
}

static void gauge(struct text *out, const char *name, const char *help, double value)
{
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

/* proc(5): of /proc/self/stat fields 14 and 15 are the ticks used, 22 the start in ticks, 23 and 24 the memory. */
void process_metrics(struct text *out)
{
    char line[1024] = "";
    FILE *file = fopen("/proc/self/stat", "r");
    if (file && !fgets(line, sizeof line, file)) line[0] = 0;
    if (file) fclose(file);
    const char *after = strrchr(line, ')'); /* the name before it may hold anything */
    unsigned long user_ticks, system_ticks, virtual_bytes;
    unsigned long long start_ticks;
    long pages;
    const char *fields =
        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu %lu %ld";
    if (after &&
        sscanf(after + 1, fields, &user_ticks, &system_ticks, &start_ticks, &virtual_bytes, &pages) == 5) {
        metrics_family(out, "process_cpu_seconds_total", "counter", "processor time used");
        metrics_sample(out, "process_cpu_seconds_total", "",
                       (double)(user_ticks + system_ticks) / (double)sysconf(_SC_CLK_TCK));
        struct timespec since_boot, now;
        if (clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0) {
            double started = (double)start_ticks / (double)sysconf(_SC_CLK_TCK);
            gauge(out, "process_start_time_seconds", "start, since 1970",
                  (double)now.tv_sec - (double)since_boot.tv_sec + started);
        }
        gauge(out, "process_virtual_memory_bytes", "address space", (double)virtual_bytes);
        gauge(out, "process_resident_memory_bytes", "resident memory",
              (double)pages * (double)sysconf(_SC_PAGESIZE));
    }
    gauge(out, "process_open_fds", "open descriptors", (double)process_open_descriptors());
    gauge(out, "process_max_fds", "descriptors there may be", (double)process_max_descriptors());
}
