/**
 * The serial console: a socket for whoever types, and a log that is written whether or not anybody listens (pure). The
 * port is spelled out, as libvirt may otherwise hand the guest another one than the first.
 */
import { element } from "../element.ts";
import type { Element } from "../element.ts";
import type { MachinePaths } from "../parts.ts";

export function serialConsole({ consoleSocket, consoleLog }: MachinePaths): Element[] {
  return [
    element("serial", { type: "unix" }, [
      element("source", { mode: "bind", path: consoleSocket }),
      element("log", { file: consoleLog, append: "on" }),
      element("target", { port: 0 }),
    ]),
    element("console", { type: "unix" }, [element("target", { type: "serial", port: 0 })]),
  ];
}
