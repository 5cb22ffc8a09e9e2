/** The API's description of itself, as the rules, masks and selectors read it. */
import type { DescMessage } from "@bufbuild/protobuf";

export type Schema = {
  /** The descriptor set, as reflection serves it. */
  image: Uint8Array;
  message(typeName: string): DescMessage;
};
