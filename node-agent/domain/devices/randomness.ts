/** The host's randomness for the guest (pure). */
import { element } from "../element.ts";
import type { Element } from "../element.ts";

export function randomness(): Element {
  return element("rng", { model: "virtio" }, [element("backend", { model: "random" }, ["/dev/urandom"])]);
}
