/** What runs the guests of a node (pure). */
import { KvmState } from "../../gen/drover/v1/node.ts";
import type { Accelerator } from "../domain/parts.ts";

/** Undefined when the node may run no guest: its processors cannot, and nobody allowed it to emulate. */
export function chooseAccelerator(kvm: KvmState, allowEmulation: boolean): Accelerator | undefined {
  if (kvm === KvmState.VERIFIED) return "kvm";
  return allowEmulation ? "qemu" : undefined;
}
