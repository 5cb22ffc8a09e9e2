/**
 * What an image's header says, and whether it may be given to a guest (pure). A header can name other files of the
 * host; only the one base that the spec declares is allowed.
 */
import * as v from "valibot";
import type { ImageFormat } from "../domain/parts.ts";
import { StorageError } from "./storage.ts";

const Header = v.object({
  format: v.string(),
  "virtual-size": v.number(),
  "backing-filename": v.optional(v.string()),
  "backing-filename-format": v.optional(v.string()),
  encrypted: v.optional(v.boolean()),
  "format-specific": v.optional(v.object({ data: v.optional(v.record(v.string(), v.unknown())) })),
});

export type ImageHeader = { format: string; virtualSizeBytes: number; isEncrypted: boolean; hasDataFile: boolean; backing?: { path: string; format: string } };

const VIRTUAL_SIZE_BYTES_MAX = 16 * 2 ** 40;

/** Takes the answer of `qemu-img info --output=json`. */
export function parseImageHeader(json: string): ImageHeader {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), Header), json);
  if (!result.success) throw new StorageError("UnsafeImage", "Cannot read the image's header: qemu-img gave an unknown answer");
  const header = result.output;
  const details = header["format-specific"]?.data ?? {};
  const backing = header["backing-filename"];
  return {
    format: header.format,
    virtualSizeBytes: header["virtual-size"],
    isEncrypted: header.encrypted === true || "encrypt" in details,
    hasDataFile: "data-file" in details,
    ...(backing === undefined ? {} : { backing: { path: backing, format: header["backing-filename-format"] ?? "" } }),
  };
}

/** `base` is the declared one; an image need not overlay it, but may overlay nothing else. */
export type Expected = { name: string; format: ImageFormat; base?: { path: string; format: ImageFormat } };

export const mismatch = (name: string, { declared, found }: { declared: string; found: string }): StorageError =>
  new StorageError("FormatMismatch", `Image "${name}" cannot be used: it is declared as ${declared} and contains ${found}`);

/** Throws a StorageError that says which rule the image breaks. */
export function checkImage(header: ImageHeader, expected: Expected): void {
  const refuse = (fault: "FormatMismatch" | "UnsafeImage", text: string): never => {
    throw new StorageError(fault, `Image "${expected.name}" cannot be used: ${text}`);
  };
  if (header.format !== expected.format) throw mismatch(expected.name, { declared: expected.format, found: header.format });
  if (header.isEncrypted) refuse("UnsafeImage", "it is encrypted");
  if (header.hasDataFile) refuse("UnsafeImage", "its header refers to a data file");
  if (header.virtualSizeBytes <= 0) refuse("UnsafeImage", "it is empty");
  if (header.virtualSizeBytes > VIRTUAL_SIZE_BYTES_MAX) refuse("UnsafeImage", `its virtual size of ${header.virtualSizeBytes} bytes is above 16Ti`);
  if (header.backing === undefined) return;
  if (expected.base === undefined) refuse("UnsafeImage", "its header refers to another image");
  else if (header.backing.path !== expected.base.path) refuse("UnsafeImage", "its header refers to another base than the declared one");
  else if (header.backing.format !== expected.base.format) refuse("FormatMismatch", `its base is declared as ${expected.base.format} and its header says "${header.backing.format}"`);
}
