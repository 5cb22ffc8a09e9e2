/** What an image is by its first bytes, as far as QEMU would ever guess a format from them (pure). */

/** Enough for every sign below. */
export const SIGN_BYTES = 512;

type Sign = { format: string; offset: number; bytes: Buffer };
const sign = (format: string, text: string, offset = 0): Sign => ({ format, offset, bytes: Buffer.from(text, "latin1") });

const SIGNS: readonly Sign[] = [
  sign("qcow2", "QFI\xfb"),
  sign("vmdk", "KDMV"),
  sign("vmdk", "COWD"),
  sign("vmdk", "# Disk DescriptorFile"),
  sign("qed", "QED\0"),
  sign("vhdx", "vhdxfile"),
  sign("vpc", "conectix"),
  sign("vdi", "\x7f\x10\xda\xbe", 64),
  sign("luks", "LUKS\xba\xbe"),
  sign("parallels", "WithoutFreeSpace"),
  sign("parallels", "WithouFreSpacExt"),
  sign("bochs", "Bochs Virtual HD Image"),
  sign("cloop", "#!/bin/sh\n#V2.0 Format\n"),
];

/** What bears no sign is raw. */
export function detectFormat(head: Buffer): string {
  return SIGNS.find(({ offset, bytes }) => head.subarray(offset, offset + bytes.length).equals(bytes))?.format ?? "raw";
}
