/* SPDX-License-Identifier: MIT */
/* abi/vdso/blob.S - the bytes of the vDSO. */
	.section .rodata
	.balign 16
	.globl vellum_vdso_blob, vellum_vdso_blob_end
	.hidden vellum_vdso_blob, vellum_vdso_blob_end
vellum_vdso_blob:
	.incbin VDSO_FILE
vellum_vdso_blob_end:
	.section .note.GNU-stack, "", @progbits
