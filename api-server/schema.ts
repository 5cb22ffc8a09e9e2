/**
 * Reads the API's own description, the image that buf builds: field rules, paths of masks and selectors, and reflection
 * all come from it, so that they cannot say different things. It has no comments, which would be most of it to read at each start.
 */
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Schema } from "./validate/schema.ts";

const IMAGE = new URL("../gen/api.binpb", import.meta.url);

export function loadSchema(): Schema {
  const image = readFileSync(IMAGE);
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  return {
    image,
    message(typeName) {
      const found = registry.getMessage(typeName);
      if (!found) throw new Error(`The API's image has no message ${typeName}`);
      return found;
    },
  };
}
