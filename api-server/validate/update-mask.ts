/** Which parts of a sent object an update takes. Pure. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { type Fault, InvalidArgument } from "../../lib/errors.ts";
import { getField, resolvePath, setField } from "./field-paths.ts";

/** What users own. */
const OWNED = ["spec", "metadata.labels", "metadata.annotations"];

/** What an update takes: the paths of its mask, or all that users own of this kind. Throws InvalidArgument. */
export function maskPaths(mask: readonly string[], root: DescMessage): readonly string[] {
  const owned = OWNED.filter((path) => resolvePath(root, path) !== undefined);
  const faults = mask.flatMap((path) => maskFaults(path, root, owned));
  if (faults.length > 0) throw new InvalidArgument(faults);
  return mask.length > 0 ? mask : owned;
}

/** The stored object with these parts of the sent one. */
export function applyMask<T>(stored: T, sent: T, { paths, root }: { paths: readonly string[]; root: DescMessage }): T {
  return paths.reduce((object, path) => take(object, sent, resolvePath(root, path)!) as T, stored);
}

function maskFaults(path: string, root: DescMessage, owned: string[]): Fault[] {
  const allowed = owned.some((prefix) => path === prefix || path.startsWith(`${prefix}.`));
  if (allowed && resolvePath(root, path) !== undefined) return [];
  const reason = resolvePath(root, path) === undefined ? "is no field" : "is not for users to change";
  return [{ path: "update_mask", message: `${JSON.stringify(path)} ${reason}: allowed are paths at or under ${owned.join(", ")}` }];
}

/** A part that is absent in what was sent is absent afterwards. */
function take(stored: unknown, sent: unknown, [field, ...rest]: DescField[]): unknown {
  if (field === undefined) return sent;
  const value = getField(sent, field);
  if (rest.length === 0) return setField(stored, field, value);
  const within = getField(stored, field);
  if (within === undefined && value === undefined) return stored;
  // Where one side has no message, the whole of the other one stands in for the missing parents.
  if (within === undefined) return setField(stored, field, value);
  return setField(stored, field, take(within, value, rest));
}
