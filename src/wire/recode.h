/* recode.h: frames as lines of text, decoded and encoded again: the engine of `odradek wire recode` and
 * `odradek wire decode`, so that anybody can hold our encoding against Apache's, byte by byte.
 *
 *     rpc    apiKey apiVersion request|response hex ...     the body, without its header
 *     msg    SchemaName version - hex ...                   a record of an internal topic, or an embedded protocol
 *
 * `-` in place of the hex is no bytes, in questions and answers. Further fields are ignored. Threads: pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/message.h"

/* Appends the answer to one line, without an end of line: the hex, or "ERR why". */
void recode_rpc_line(const char *line, struct text *out);
void recode_msg_line(const char *line, struct text *out);

/* Appends the body of a request or response as one JSON object. *fault (may be NULL) says what is wrong with it.
 * Bytes after the body are not an error; *consumed (may be NULL) tells. */
MUST_USE enum error decode_frame(int16_t api_key, int16_t version, bool is_response, struct slice body,
                                 struct text *out, size_t *consumed, struct decode_fault *fault);

/* Hex digits, blanks between them allowed; appends the bytes. False on anything else, or an odd count. */
bool hex_parse(struct slice hex, struct text *bytes);
void hex_add(struct text *out, struct slice bytes);
