/**
 * A display, on a unix socket only: nothing listens on the network (pure). libvirt places the socket in the domain's
 * own directory, the one place that is sure to be writable for whichever user QEMU runs as.
 */
import { element } from "../element.ts";
import type { Element } from "../element.ts";

const VIDEO_MEMORY_KIBIBYTES = 16_384;

/** The tablet makes the pointer in the guest follow the one at the client. */
export function graphics(): Element[] {
  return [
    element("input", { type: "tablet", bus: "usb" }),
    element("graphics", { type: "vnc" }, [element("listen", { type: "socket" })]),
    element("video", {}, [element("model", { type: "vga", vram: VIDEO_MEMORY_KIBIBYTES, heads: 1, primary: "yes" })]),
  ];
}
