/** The balloon, without which the host learns nothing of the guest's memory (pure). */
import { element } from "../element.ts";
import type { Element } from "../element.ts";

export function memoryBalloon(): Element {
  return element("memballoon", { model: "virtio" });
}
