/** The guest agent's channel; its path is left to libvirt, which is the one to talk through it (pure). */
import { element } from "../element.ts";
import type { Element } from "../element.ts";

export function channels(): Element[] {
  return [element("channel", { type: "unix" }, [element("target", { type: "virtio", name: "org.qemu.guest_agent.0" })])];
}
