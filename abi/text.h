/* SPDX-License-Identifier: MIT */
/*
 * abi/text.h - names, paths and arguments of programs in what Vellum says: they are any bytes but NUL, and must not
 * move a terminal's cursor, begin a line that looks like Vellum's, or turn text around.
 */
#ifndef ABI_TEXT_H
#define ABI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The character that a text, which ends with NUL, begins with. Return: its length in bytes; 0: the first byte is no
 * UTF-8 (a surrogate, a longer form than need be, beyond U+10FFFF, or cut off).
 */
size_t utf8_decode(const char *text, uint32_t *character);

/*
 * @text for a message, in @buf: control characters, what changes the direction of text, the separators of lines
 * and paragraphs, and bytes that are no UTF-8 become \n, \t, \x1b or \u{202e}; a backslash is doubled. What does not
 * fit is left out as a whole. Return: @buf.
 */
const char *printable(const char *text, char *buf, size_t size);
/* The same for a text between double quotes. */
const char *printable_quoted(const char *text, char *buf, size_t size);

/* Room for all of a text of @n bytes. */
#define PRINTABLE_BYTES(n) (4 * (n) + 1)

#endif
