/* wire_recode: `odradek wire recode rpc|msg` without the rest of odradek, for the vectors beside this file and for
 * whoever works on wire/ alone. Lines come on standard input, one answer each goes to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/recode.h"

int main(int argc, char **argv)
{
    bool is_rpc = argc == 2 && strcmp(argv[1], "rpc") == 0;
    if (!is_rpc && !(argc == 2 && strcmp(argv[1], "msg") == 0)) {
        fprintf(stderr, "usage: wire_recode rpc|msg < lines\n");
        return 2;
    }
    char *line = NULL;
    size_t capacity = 0;
    struct text answer = {0};
    while (getline(&line, &capacity, stdin) >= 0) {
        text_reset(&answer);
        if (is_rpc) {
            recode_rpc_line(line, &answer);
        } else {
            recode_msg_line(line, &answer);
        }
        text_addc(&answer, '\n');
        if (answer.failed) {
            fprintf(stderr, "out of memory\n");
            return 1;
        }
        fwrite(answer.data, 1, answer.size, stdout);
    }
    text_free(&answer);
    free(line);
    return 0;
}
