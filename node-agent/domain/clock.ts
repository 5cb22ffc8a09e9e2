/** The guest's hardware clock (pure). */
import type { ClockSpec } from "../../gen/drover/v1/machine.ts";
import type { Board } from "./board.ts";
import { element } from "./element.ts";
import type { Element } from "./element.ts";

export function clock(spec: ClockSpec | undefined, { isX86 }: Board): Element {
  const base = spec?.base;
  const offset = base?.$case === "timezone" ? { offset: "timezone", timezone: base.value } : { offset: "utc" };
  return element("clock", offset, isX86 ? timers() : []);
}

/** Lost ticks are caught up or dropped rather than piled up, which is what guests of today expect. */
function timers(): Element[] {
  return [
    element("timer", { name: "rtc", tickpolicy: "catchup" }),
    element("timer", { name: "pit", tickpolicy: "delay" }),
    element("timer", { name: "hpet", present: "no" }),
  ];
}
