/** The API's descriptors, read once from the compiled image: what a manifest may hold is decided by the proto alone. */
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const IMAGE = new URL("../../gen/api.binpb", import.meta.url);

let loaded: FileRegistry | undefined;

export function registry(): FileRegistry {
  loaded ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(IMAGE)));
  return loaded;
}

/** The message of a kind, such as "VirtualMachine". */
export function kindMessage(kind: string): DescMessage {
  const message = registry().getMessage(`drover.v1.${kind}`);
  if (!message) throw new Error(`The API has no kind "${kind}"`);
  return message;
}
