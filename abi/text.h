/* SPDX-License-Identifier: MIT */
/*
 * abi/text.h - escape names, paths and arguments of programs for messages. They contain any bytes but NUL. A message
 * must not move a terminal's cursor, contain a forged line of Vellum, or reverse the direction of text.
 */
#ifndef ABI_TEXT_H
#define ABI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decode the first character of a text that ends with NUL. Return: its length in bytes; 0 if the text does not begin
 * with valid UTF-8 (a surrogate, an overlong form, beyond U+10FFFF, or incomplete).
 */
size_t utf8_decode(const char *text, uint32_t *character);

/*
 * Copy @text to @buf for a message. Control characters, characters that change the direction of text, separators of
 * lines and paragraphs, and invalid UTF-8 are written as \n, \t, \x1b or \u{202e}. A backslash is doubled. The text is
 * cut where the next character does not fit as a whole. Return: @buf.
 */
const char *printable(const char *text, char *buf, size_t size);
/* The same for a text between double quotes, which are escaped, too. */
const char *printable_quoted(const char *text, char *buf, size_t size);

/* Bytes that are enough for the copy of any text of @n bytes, with the NUL. */
#define PRINTABLE_BYTES(n) (4 * (n) + 1)

#endif
