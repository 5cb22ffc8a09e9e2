/**
 * How an instance comes by its secrets: the controller never sees them, so it creates the instance with digests alone,
 * and the server fills in the values of the machine that owns it.
 */
import type { SecretValue } from "../../gen/drover/v1/meta.ts";
import { Aborted } from "../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Reads } from "../objects.ts";
import { secretsOf } from "./secrets.ts";

/** The owner's secrets, by place. Throws Aborted when they are not those that the digests were read from. */
export async function adoptSecrets<T extends Resource>(revealed: Reads, kind: Kind<T>, object: T): Promise<Map<string, SecretValue>> {
  const { namespace, ownerReferences } = metaOf(object);
  const owner = ownerReferences.find(({ kind: name }) => name === virtualMachines.name);
  const wanted = [...secretsOf(kind, object)].filter(([, { value, digest }]) => value === "" && digest !== "");
  if (!owner || wanted.length === 0) return new Map();
  const vm = await revealed.find(virtualMachines, { namespace, name: owner.name });
  const held = vm ? secretsOf(virtualMachines, vm) : new Map<string, SecretValue>();
  const differs = wanted.some(([place, { digest }]) => held.get(place)?.digest !== digest);
  if (!vm || metaOf(vm).uid !== owner.uid || differs) {
    throw new Aborted(`Cannot take over the secrets of "${namespace}/${owner.name}": it has changed`, { reason: "OWNER_CHANGED" });
  }
  return held;
}
