/** What of a machine's disks keeps it from moving live (pure). Asked again by the target, whatever was admitted before. */
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import { cachedVolumes } from "../../lib/disk-transfer.ts";

/** A sentence for each hindrance; none when the machine can move. */
export const migrationHindrances = (spec: VirtualMachineInstanceSpec): string[] =>
  [...cachedVolumes(spec)].map((name) => `disk "${name}" is cached by its node`);
