# Takes the C programs out of README.md:  awk -f readme.awk README.md OUT_1.c OUT_2.c ...
#
# The k-th fenced block marked `c` goes to OUT_k.c, its main() renamed to readme_main_k(). Fails
# unless there are as many blocks as files. Lines keep their numbers, for the compiler's messages.

BEGIN {
    for (i = 2; i < ARGC; i++)
        out[i - 1] = ARGV[i]
    files = ARGC - 2
    ARGC = 2
}

/^```c$/ {
    inside = ++blocks
    if (blocks <= files)
        printf "#define main readme_main_%d\n#line %d \"README.md\"\n", blocks, FNR + 1 >out[blocks]
    next
}

/^```/ { inside = 0 }

inside && inside <= files { print >out[inside] }

END {
    if (blocks != files) {
        printf "README.md has %d C programs, but tests/meson.build names %d\n", blocks, files \
            >"/dev/stderr"
        exit 1
    }
}
