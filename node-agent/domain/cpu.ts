/** Processors: model and topology (pure). */
import type { CpuSpec } from "../../gen/drover/v1/machine.ts";
import { element } from "./element.ts";
import type { Element } from "./element.ts";
import type { Accelerator } from "./parts.ts";

export type CpuChoice = { spec: CpuSpec | undefined; model: string; accelerator: Accelerator };

/** Zero, as an unset field reads, counts as one. */
function topology(spec: CpuSpec | undefined): { sockets: number; cores: number; threads: number } {
  return { sockets: spec?.sockets || 1, cores: spec?.cores || 1, threads: spec?.threads || 1 };
}

export function vcpus(spec: CpuSpec | undefined): Element {
  const { sockets, cores, threads } = topology(spec);
  return element("vcpu", { placement: "static" }, [String(sockets * cores * threads)]);
}

export function cpu({ spec, model, accelerator }: CpuChoice): Element {
  const shape = element("topology", topology(spec));
  // Emulation offers another set of features than the named model has; libvirt's check would refuse every one of them.
  const check = accelerator === "qemu" ? "none" : "partial";
  switch (model) {
    case "":
      return element("cpu", {}, [shape]);
    case "host-model":
      return element("cpu", { mode: "host-model", check }, [shape]);
    case "host-passthrough":
    case "maximum":
      return element("cpu", { mode: model, check: "none" }, [shape]);
    default:
      return element("cpu", { mode: "custom", match: "exact", check }, [element("model", { fallback: "forbid" }, [model]), shape]);
  }
}
