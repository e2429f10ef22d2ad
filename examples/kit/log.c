/* log.c: a log of JSON objects, one a line (RFC 8259 for the text of an object).
 *
 * A line is gathered in the stream's buffer and flushed at its end, so that a reader who follows
 * the file sees whole lines. */
#include "examples/kit/kit.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `then`: what comes of it. */
static bool log_failed(kit_log *log, const char *then)
{
    kit_warn("cannot write the log '%s': %s%s", log->path, strerror(errno), then);
    if (log->file)
        fclose(log->file);
    log->file = NULL;
    log->failed = true;
    return false;
}

bool kit_log_open(kit_log *log, const char *path, bool append)
{
    struct stat st;
    *log = (kit_log){ .path = path };
    if (!path)
        return true;
    log->file = fopen(path, append ? "a+" : "w");
    if (!log->file && append && errno == EINVAL)
        log->file = fopen(path, "a"); /* a pipe or device that cannot be read */
    if (!log->file)
        return log_failed(log, "");
    /* A killed run may have left half a line: what follows must not be glued to it. */
    if (append && fstat(fileno(log->file), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        if (fseek(log->file, -1, SEEK_END) != 0)
            return log_failed(log, "");
        int last = fgetc(log->file);
        fseek(log->file, 0, SEEK_END); /* between reading and writing a stream must be placed */
        if (last != '\n')
            fputc('\n', log->file);
    }
    return true;
}

static void put_string(FILE *f, const char *s)
{
    fputc('"', f);
    while (*s) {
        unsigned char c = (unsigned char)*s;
        size_t n = kit_utf8(s);
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", f);
        else if (c == '\t')
            fputs("\\t", f);
        else if (c < ' ' || c == 0x7f)
            fprintf(f, "\\u%04x", c);
        else if (n == 0)
            fputs("\\ufffd", f);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

void kit_log_begin(kit_log *log)
{
    log->fields = 0;
    if (log->file)
        fputc('{', log->file);
}

static void put_key(kit_log *log, const char *key)
{
    if (log->fields++ > 0)
        fputs(", ", log->file);
    put_string(log->file, key);
    fputs(": ", log->file);
}

void kit_log_int(kit_log *log, const char *key, long long value)
{
    if (!log->file)
        return;
    put_key(log, key);
    fprintf(log->file, "%lld", value);
}

void kit_log_double(kit_log *log, const char *key, double value)
{
    char text[64];
    if (!log->file)
        return;
    put_key(log, key);
    fputs(isfinite(value) ? kit_number(text, "%.12g", value) : "null", log->file);
}

void kit_log_text(kit_log *log, const char *key, const char *value)
{
    if (!log->file)
        return;
    put_key(log, key);
    if (value)
        put_string(log->file, value);
    else
        fputs("null", log->file);
}

bool kit_log_end(kit_log *log)
{
    if (!log->file)
        return !log->failed;
    fputs("}\n", log->file);
    if (fflush(log->file) != 0 || ferror(log->file))
        return log_failed(log, "; it ends here, but the run goes on");
    return true;
}

bool kit_log_close(kit_log *log)
{
    FILE *file = log->file;
    log->file = NULL;
    if (file && fclose(file) != 0)
        return log_failed(log, "");
    return !log->failed;
}

/* The integer after "key": in a line, or `none`. */
static long long field(const char *line, const char *key, long long none)
{
    size_t n = strlen(key);
    for (const char *s = strchr(line, '"'); s; s = strchr(s + 1, '"'))
        if (strncmp(s + 1, key, n) == 0 && s[1 + n] == '"' && s[2 + n] == ':')
            return strtoll(s + 3 + n, NULL, 10);
    return none;
}

bool kit_log_rewind(const char *path, const char *key, long long last)
{
    struct stat st;
    kit_log log = { .path = path };
    if (!path || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return true;
    log.file = fopen(path, "r");
    if (!log.file)
        return log_failed(&log, "");
    char *line = NULL;
    size_t room = 0;
    off_t end = 0;
    for (ssize_t n; (n = getline(&line, &room, log.file)) > 0;) {
        long long at = field(line, key, LLONG_MIN);
        if (at > last)
            break;
        end += n;
        if (at == last)
            break;
    }
    free(line);
    if (ferror(log.file) || (end < st.st_size && truncate(path, end) != 0))
        return log_failed(&log, "");
    fclose(log.file);
    return true;
}
