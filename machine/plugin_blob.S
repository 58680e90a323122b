/* SPDX-License-Identifier: MIT */
/* machine/plugin_blob.S - QEMU's plugin as bytes. */
	.section .rodata
	.globl plugin_blob, plugin_blob_end
	.hidden plugin_blob, plugin_blob_end
plugin_blob:
	.incbin PLUGIN
plugin_blob_end:
	.section .note.GNU-stack, "", @progbits
