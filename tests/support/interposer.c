/* Between a process and the C library: sees, counts and disturbs every call that changes files below one folder.
 *
 *   cc -shared -fPIC -O1 -o interposer.so interposer.c -ldl
 *
 * HDF5 and MPI-IO write with calls of their own, which nothing in Python can see. Environment:
 *
 *   STEP_FOLDER   what lies below it counts (an absolute path without links)
 *   STEP_RANK     disturb only this rank of Open MPI's world; unset: any process
 *   STEP_LOG      append one line per call to LOG.<rank>, all bytes included; unset: no log
 *   STEP_NOTE     log calls below this folder too, as number 0: neither counted nor disturbed
 *   STEP_ONLY, STEP_BUT   FROM-TO: only (all but) the writes that begin at these offsets count; the others are
 *                 logged as number 0
 *   STEP_AT, STEP_DO   at call number AT (from 1): "before", "after": SIGKILL there; "torn": write one half, then
 *                 SIGKILL; "fail": the call fails with STEP_ERRNO; "full": so do all that write from there on
 *   STEP_REACHED  a file that is created when call number AT is met
 *
 * A line: number, rank, call, result, offset, size, path, second path, bytes in hexadecimal; separated by tabs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NEVER, BEFORE, AFTER, TORN, FAIL, FULL };

struct call {
    const char *name;
    char path[PATH_MAX], second[PATH_MAX];
    off_t offset;
    const struct iovec *pieces;
    int count, takes_room, number, noted;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int met;

/* Whatever this file itself does goes past the C library's entry points: they are the ones replaced here. */
static const char *folder, *note, *log_to, *reached;
static int act, at, number_of_error, here, rank, ready;
static long long from, to;
static enum { ALL, ONLY, BUT } range;

static void set_up(void)
{
    if (ready)
        return;
    const char *mpi = getenv("OMPI_COMM_WORLD_RANK"), *only = getenv("STEP_RANK"), *what = getenv("STEP_DO");
    const char *names[] = {"", "before", "after", "torn", "fail", "full"};
    folder = getenv("STEP_FOLDER");
    note = getenv("STEP_NOTE");
    log_to = getenv("STEP_LOG");
    reached = getenv("STEP_REACHED");
    rank = mpi ? atoi(mpi) : 0;
    here = !only || atoi(only) == rank;
    at = getenv("STEP_AT") ? atoi(getenv("STEP_AT")) : 0;
    number_of_error = getenv("STEP_ERRNO") ? atoi(getenv("STEP_ERRNO")) : EIO;
    for (int i = BEFORE; what && i <= FULL; i++)
        if (!strcmp(what, names[i]))
            act = i;
    const char *only_these = getenv("STEP_ONLY"), *not_these = getenv("STEP_BUT");
    range = only_these ? ONLY : not_these ? BUT : ALL;
    if (range && sscanf(range == ONLY ? only_these : not_these, "%lld-%lld", &from, &to) != 2)
        _exit(98);
    ready = 1;
}

static int below(const char *path, const char *place)
{
    size_t length = place ? strlen(place) : 0;
    return length && !strncmp(path, place, length) && (path[length] == '/' || !path[length]);
}

static void resolve(int directory, const char *path, char *out)
{
    char link[64], base[PATH_MAX] = "";
    if (path[0] != '/') {
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
        ssize_t n = syscall(SYS_readlink, link, base, sizeof base - 2);
        base[n < 0 ? 0 : n] = 0;
        strcat(base, "/");
    }
    snprintf(out, PATH_MAX, "%.2000s%.2000s", base, path);
}

static void path_of(int descriptor, char *out)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t n = syscall(SYS_readlink, link, out, PATH_MAX - 1);
    out[n < 0 ? 0 : n] = 0;
}

static size_t size_of(const struct call *call)
{
    size_t size = 0;
    for (int i = 0; i < call->count; i++)
        size += call->pieces[i].iov_len;
    return size;
}

static void append(const char *path, const char *text, size_t size)
{
    int descriptor = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor < 0 || syscall(SYS_write, descriptor, text, size) != (ssize_t)size)
        _exit(99); /* a log with holes proves nothing */
    syscall(SYS_close, descriptor);
}

static void report(const struct call *call, ssize_t result)
{
    if (!log_to)
        return;
    char path[PATH_MAX];
    size_t size = size_of(call), room = 2 * PATH_MAX + 200 + 2 * size;
    char *line = malloc(room);
    int used = snprintf(line, room, "%d\t%d\t%s\t%zd\t%lld\t%zu\t%s\t%s\t", call->noted ? 0 : call->number, rank,
                        call->name, result, (long long)call->offset, size, call->path, call->second);
    for (int i = 0; i < call->count; i++)
        for (size_t k = 0; k < call->pieces[i].iov_len; k++)
            used += sprintf(line + used, "%02x", ((unsigned char *)call->pieces[i].iov_base)[k]);
    line[used++] = '\n';
    snprintf(path, sizeof path, "%s.%d", log_to, rank);
    append(path, line, used);
    free(line);
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* The first half of what the call would write, at its place. */
static void tear(const struct call *call, int descriptor)
{
    size_t left = size_of(call) / 2;
    off_t offset = call->offset;
    for (int i = 0; i < call->count && left; i++) {
        size_t size = call->pieces[i].iov_len < left ? call->pieces[i].iov_len : left;
        syscall(SYS_pwrite64, descriptor, call->pieces[i].iov_base, size, offset);
        offset += size;
        left -= size;
    }
}

/* Whether the call is of interest. Takes the lock then, and may not return, or tell the call to fail (2). */
static int begin(struct call *call, int descriptor)
{
    set_up();
    int counts = below(call->path, folder) || (call->second[0] && below(call->second, folder));
    int inside = call->count && call->offset >= from && call->offset < to;
    call->noted = counts ? (range == ONLY && !inside) || (range == BUT && inside) : below(call->path, note);
    if (!counts && !call->noted)
        return 0;
    pthread_mutex_lock(&mutex);
    if (call->noted)
        return 1;
    call->number = ++met;
    if (!here || !act || (act == FULL ? met < at : met != at))
        return 1;
    if (reached && met == at)
        append(reached, call->name, strlen(call->name));
    if (act == BEFORE || act == TORN) {
        if (act == TORN && call->count)
            tear(call, descriptor);
        report(call, -2);
        die();
    }
    if (act == FAIL || (act == FULL && call->takes_room)) {
        report(call, -1);
        pthread_mutex_unlock(&mutex);
        errno = number_of_error;
        return 2;
    }
    return 1;
}

static void end(struct call *call, ssize_t result)
{
    int error = errno;
    report(call, result);
    if (!call->noted && here && act == AFTER && call->number == at)
        die();
    pthread_mutex_unlock(&mutex);
    errno = error;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define AROUND(call, descriptor, real)                                                                                 \
    do {                                                                                                               \
        int wanted = begin(&(call), descriptor);                                                                       \
        if (wanted == 2)                                                                                               \
            return -1;                                                                                                 \
        __typeof__(real) result = real;                                                                                \
        if (wanted)                                                                                                    \
            end(&(call), result);                                                                                      \
        return result;                                                                                                 \
    } while (0)

/* Writing through a descriptor. */

static struct call writing(const char *name, int descriptor, const struct iovec *pieces, int count, off_t offset)
{
    struct call call = {.name = name, .pieces = pieces, .count = count, .takes_room = 1, .offset = offset};
    path_of(descriptor, call.path);
    return call;
}

static off_t position(int descriptor)
{
    off_t offset = syscall(SYS_fcntl, descriptor, F_GETFL) & O_APPEND
                       ? syscall(SYS_lseek, descriptor, 0, SEEK_END)
                       : syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
    return offset;
}

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    int error = errno;
    struct iovec piece = {(void *)bytes, size};
    struct call call = writing("write", descriptor, &piece, 1, 0);
    call.offset = position(descriptor); /* a pipe has none */
    errno = error;
    AROUND(call, descriptor, REAL(write)(descriptor, bytes, size));
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count)
{
    int error = errno;
    struct call call = writing("writev", descriptor, pieces, count, 0);
    call.offset = position(descriptor);
    errno = error;
    AROUND(call, descriptor, REAL(writev)(descriptor, pieces, count));
}

#define PWRITE(function)                                                                                               \
    ssize_t function(int descriptor, const void *bytes, size_t size, off_t offset)                                     \
    {                                                                                                                  \
        struct iovec piece = {(void *)bytes, size};                                                                    \
        struct call call = writing("pwrite", descriptor, &piece, 1, offset);                                           \
        AROUND(call, descriptor, REAL(function)(descriptor, bytes, size, offset));                                     \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(function)                                                                                              \
    ssize_t function(int descriptor, const struct iovec *pieces, int count, off_t offset)                              \
    {                                                                                                                  \
        struct call call = writing("pwritev", descriptor, pieces, count, offset);                                      \
        AROUND(call, descriptor, REAL(function)(descriptor, pieces, count, offset));                                   \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITEV2(function)                                                                                             \
    ssize_t function(int descriptor, const struct iovec *pieces, int count, off_t offset, int flags)                   \
    {                                                                                                                  \
        struct call call = writing("pwritev", descriptor, pieces, count, offset);                                      \
        AROUND(call, descriptor, REAL(function)(descriptor, pieces, count, offset, flags));                            \
    }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

#define BY_DESCRIPTOR(function)                                                                                        \
    int function(int descriptor)                                                                                       \
    {                                                                                                                  \
        struct call call = writing(#function, descriptor, NULL, 0, 0);                                                 \
        AROUND(call, descriptor, REAL(function)(descriptor));                                                          \
    }
BY_DESCRIPTOR(fsync)
BY_DESCRIPTOR(fdatasync)

#define TRUNCATE(function)                                                                                             \
    int function(int descriptor, off_t size)                                                                           \
    {                                                                                                                  \
        struct call call = writing("ftruncate", descriptor, NULL, 0, size);                                            \
        AROUND(call, descriptor, REAL(function)(descriptor, size));                                                    \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* What the walk would miss, so it must never be seen: `offset` tells that a mapping can change the file. */

#define MMAP(function)                                                                                                 \
    void *function(void *address, size_t size, int protection, int flags, int descriptor, off_t offset)                \
    {                                                                                                                  \
        void *mapped = REAL(function)(address, size, protection, flags, descriptor, offset);                           \
        if (descriptor >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {                                    \
            struct call call = writing("mmap", descriptor, NULL, 0, offset);                                           \
            if (begin(&call, descriptor) == 1)                                                                         \
                end(&call, 0);                                                                                         \
        }                                                                                                              \
        return mapped;                                                                                                 \
    }
MMAP(mmap)
MMAP(mmap64)

/* Making and naming files. `offset` of an open: whether it truncates. */

#define OPEN(function, directory, ...)                                                                                 \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                                         \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = va_arg(more, mode_t);                                                                               \
            va_end(more);                                                                                              \
        }                                                                                                              \
        if (!(flags & (O_CREAT | O_TRUNC)))                                                                            \
            return REAL(function)(__VA_ARGS__, flags, mode);                                                           \
        struct call call = {.name = "open", .takes_room = 1, .offset = !!(flags & O_TRUNC)};                           \
        resolve(directory, path, call.path);                                                                           \
        AROUND(call, -1, REAL(function)(__VA_ARGS__, flags, mode));                                                    \
    }
int open(const char *path, int flags, ...) OPEN(open, AT_FDCWD, path)
int open64(const char *path, int flags, ...) OPEN(open64, AT_FDCWD, path)
int openat(int directory, const char *path, int flags, ...) OPEN(openat, directory, directory, path)
int openat64(int directory, const char *path, int flags, ...) OPEN(openat64, directory, directory, path)

static struct call naming(const char *name, int directory, const char *path, int other, const char *second)
{
    struct call call = {.name = name};
    resolve(directory, path, call.path);
    if (second)
        resolve(other, second, call.second);
    return call;
}

int creat(const char *path, mode_t mode)
{
    struct call call = naming("open", AT_FDCWD, path, 0, NULL);
    call.takes_room = call.offset = 1;
    AROUND(call, -1, REAL(creat)(path, mode));
}

int rename(const char *from, const char *to)
{
    struct call call = naming("rename", AT_FDCWD, from, AT_FDCWD, to);
    AROUND(call, -1, REAL(rename)(from, to));
}

int renameat(int a, const char *from, int b, const char *to)
{
    struct call call = naming("rename", a, from, b, to);
    AROUND(call, -1, REAL(renameat)(a, from, b, to));
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    struct call call = naming("rename", a, from, b, to);
    AROUND(call, -1, REAL(renameat2)(a, from, b, to, flags));
}

int link(const char *from, const char *to)
{
    struct call call = naming("link", AT_FDCWD, from, AT_FDCWD, to);
    AROUND(call, -1, REAL(link)(from, to));
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    struct call call = naming("link", a, from, b, to);
    AROUND(call, -1, REAL(linkat)(a, from, b, to, flags));
}

int unlink(const char *path)
{
    struct call call = naming("unlink", AT_FDCWD, path, 0, NULL);
    AROUND(call, -1, REAL(unlink)(path));
}

int unlinkat(int directory, const char *path, int flags)
{
    struct call call = naming("unlink", directory, path, 0, NULL);
    AROUND(call, -1, REAL(unlinkat)(directory, path, flags));
}

int chmod(const char *path, mode_t mode)
{
    struct call call = naming("chmod", AT_FDCWD, path, 0, NULL);
    AROUND(call, -1, REAL(chmod)(path, mode));
}

int fchmod(int descriptor, mode_t mode)
{
    struct call call = writing("chmod", descriptor, NULL, 0, 0);
    call.takes_room = 0;
    AROUND(call, descriptor, REAL(fchmod)(descriptor, mode));
}

int fchmodat(int directory, const char *path, mode_t mode, int flags)
{
    struct call call = naming("chmod", directory, path, 0, NULL);
    AROUND(call, -1, REAL(fchmodat)(directory, path, mode, flags));
}
