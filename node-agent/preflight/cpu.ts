/**
 * A guest's CPU out of its running domain, and back into XML for another host's libvirt (pure). It goes from host to host as
 * checked words, never as text: nobody's parser reads what another host wrote.
 */
import { CpuDefinition } from "../../gen/drover/agent/v1/agent.ts";
import type { CpuFeature } from "../../gen/drover/agent/v1/agent.ts";
import { element, serialize } from "../domain/element.ts";
import type { Element } from "../domain/element.ts";
import { childOf, elementsOf, textOf } from "../door/xml-tree.ts";

const FEATURES_MAX = 512;
const POLICIES: readonly string[] = ["require", "disable"];

/** Undefined where the domain leaves the CPU to the hypervisor, or to its host. */
export function cpuOf(domain: Element): CpuDefinition | undefined {
  const cpu = childOf(domain, "cpu");
  const model = childOf(cpu, "model");
  if (!cpu || !model) return undefined;
  const vendor = childOf(cpu, "vendor");
  const features = elementsOf(cpu).filter(({ name }) => name === "feature").map(featureOf).filter(({ policy }) => POLICIES.includes(policy));
  return CpuDefinition.create({ model: textOf(model), vendor: vendor ? textOf(vendor) : "", features: features.slice(0, FEATURES_MAX) });
}

const featureOf = ({ attributes: { name = "", policy = "" } }: Element): CpuFeature => ({ name, policy });

export function cpuXml({ model, vendor, features }: CpuDefinition): string {
  return serialize(element("cpu", { mode: "custom", match: "exact" }, [
    element("model", { fallback: "forbid" }, [model]),
    vendor !== "" && element("vendor", {}, [vendor]),
    ...features.map(({ name, policy }) => element("feature", { policy, name })),
  ]));
}
