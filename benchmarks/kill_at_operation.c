/* Kills a process at the n-th operation that changes a file under a folder.

   Preloaded into a process (LD_PRELOAD) it counts what goes through the C library's functions that
   create, write, rename, remove or sync files, whoever calls them: Python, Rust or C++. Nothing
   happens until arm() is called; forks of an armed process are armed too, and count together. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct state {
    long count;   /* operations so far, of all armed processes */
    long kill_at; /* the operation, from 1 on, before which the victim is killed; 0: none */
    pid_t victim; /* 0: the process group of whoever performs the operation */
};
static struct state *shared;
static const char *root;
static char root_text[PATH_MAX];
static int log_file = -1;

__attribute__((constructor)) static void make_shared(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* What the next trial is to do; called where forks are made. */
void set_trap(long kill_at, pid_t victim) { *shared = (struct state){0, kill_at, victim}; }

void set_victim(pid_t victim) { shared->victim = victim; }

long operations(void) { return shared->count; }

/* From now on operations under the folder, an absolute path, count; log_fd: -1, or a list of them. */
void arm(const char *folder, int log_fd) {
    strncpy(root_text, folder, sizeof root_text - 1);
    log_file = log_fd;
    root = root_text;
}

static void absolute(int folder, const char *path, char *whole) {
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
        return;
    }
    char link[64], base[PATH_MAX];
    if (folder == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, base, sizeof base - 1);
    base[size < 0 ? 0 : size] = 0;
    snprintf(whole, PATH_MAX, "%.2000s/%.2000s", base, path);
}

static void about_to(const char *name, int folder, const char *path) {
    if (root == NULL || path == NULL) return;
    char whole[PATH_MAX];
    absolute(folder, path, whole);
    size_t size = strlen(root);
    if (strncmp(whole, root, size) != 0) return;
    long number = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
    if (log_file >= 0) dprintf(log_file, "%ld %s %s\n", number, name, whole + size);
    if (number == shared->kill_at) kill(shared->victim, SIGKILL);
}

static void about_to_at(const char *name, int file) {
    if (root == NULL) return;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0 || path[0] != '/') return;
    path[size] = 0;
    about_to(name, AT_FDCWD, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int changes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags) \
        if (changes(flags)) about_to("open", AT_FDCWD, path); \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags) \
        if (changes(flags)) about_to("open", folder, path); \
        return REAL(name)(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        if (strpbrk(mode, "wa+")) about_to("open", AT_FDCWD, path); \
        return REAL(name)(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_PATH(name, type, params, args, path) \
    type name params { \
        about_to(#name, AT_FDCWD, path); \
        return REAL(name) args; \
    }
ON_PATH(creat, int, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(creat64, int, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(rename, int, (const char *old, const char *path), (old, path), path)
ON_PATH(unlink, int, (const char *path), (path), path)
ON_PATH(rmdir, int, (const char *path), (path), path)
ON_PATH(mkdir, int, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(link, int, (const char *old, const char *path), (old, path), path)
ON_PATH(symlink, int, (const char *old, const char *path), (old, path), path)
ON_PATH(truncate, int, (const char *path, off_t size), (path, size), path)
ON_PATH(truncate64, int, (const char *path, off64_t size), (path, size), path)
ON_PATH(chmod, int, (const char *path, mode_t mode), (path, mode), path)

#define ON_PATH_AT(name, type, params, args, folder, path) \
    type name params { \
        about_to(#name, folder, path); \
        return REAL(name) args; \
    }
ON_PATH_AT(renameat, int, (int from, const char *old, int to, const char *path),
           (from, old, to, path), to, path)
ON_PATH_AT(renameat2, int, (int from, const char *old, int to, const char *path, unsigned flags),
           (from, old, to, path, flags), to, path)
ON_PATH_AT(unlinkat, int, (int folder, const char *path, int flags), (folder, path, flags), folder,
           path)
ON_PATH_AT(mkdirat, int, (int folder, const char *path, mode_t mode), (folder, path, mode), folder,
           path)
ON_PATH_AT(linkat, int, (int from, const char *old, int to, const char *path, int flags),
           (from, old, to, path, flags), to, path)
ON_PATH_AT(symlinkat, int, (const char *old, int to, const char *path), (old, to, path), to, path)
ON_PATH_AT(utimensat, int,
           (int folder, const char *path, const struct timespec times[2], int flags),
           (folder, path, times, flags), folder, path)

#define ON_FILE(name, type, params, args, file) \
    type name params { \
        about_to_at(#name, file); \
        return REAL(name) args; \
    }
ON_FILE(write, ssize_t, (int file, const void *data, size_t size), (file, data, size), file)
ON_FILE(pwrite, ssize_t, (int file, const void *data, size_t size, off_t at),
        (file, data, size, at), file)
ON_FILE(pwrite64, ssize_t, (int file, const void *data, size_t size, off64_t at),
        (file, data, size, at), file)
ON_FILE(writev, ssize_t, (int file, const struct iovec *parts, int count), (file, parts, count),
        file)
ON_FILE(sendfile, ssize_t, (int file, int from, off_t *at, size_t size), (file, from, at, size),
        file)
ON_FILE(sendfile64, ssize_t, (int file, int from, off64_t *at, size_t size),
        (file, from, at, size), file)
ON_FILE(copy_file_range, ssize_t,
        (int from, off64_t *from_at, int file, off64_t *at, size_t size, unsigned flags),
        (from, from_at, file, at, size, flags), file)
ON_FILE(ftruncate, int, (int file, off_t size), (file, size), file)
ON_FILE(ftruncate64, int, (int file, off64_t size), (file, size), file)
ON_FILE(fallocate, int, (int file, int mode, off_t at, off_t size), (file, mode, at, size), file)
ON_FILE(fsync, int, (int file), (file), file)
ON_FILE(fdatasync, int, (int file), (file), file)
ON_FILE(fchmod, int, (int file, mode_t mode), (file, mode), file)
ON_FILE(futimens, int, (int file, const struct timespec times[2]), (file, times), file)
