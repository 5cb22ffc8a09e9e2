/** File names in pools (pure): the one place that decides what a user may name there. */
import { DiskFormat } from "../../gen/drover/v1/machine.ts";
import type { PoolDisk } from "../../gen/drover/v1/machine.ts";
import type { ImageFormat } from "../domain/parts.ts";
import { StorageError } from "./storage.ts";

/** No separator, no colon, no leading dot or hyphen: nothing that a shell, QEMU or a file system reads a meaning into. */
const NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,254}$/;

export function checkedName(name: string): string {
  if (!NAME.test(name)) {
    throw new StorageError("InvalidName", `"${name}" is no file name in a pool: it may contain letters, digits, "_", "." and "-", and must not begin with "." or "-"`);
  }
  return name;
}

export function formatOf(format: DiskFormat): ImageFormat {
  return format === DiskFormat.RAW ? "raw" : "qcow2";
}

/** An image that the spec does not name is the machine's own. */
export function imageName(disk: PoolDisk, owner: { namespace: string; vm: string; volume: string }): string {
  return checkedName(disk.image || `${owner.namespace}_${owner.vm}_${owner.volume}.${formatOf(disk.format)}`);
}
