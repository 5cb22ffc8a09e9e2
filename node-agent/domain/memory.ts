/** Guest memory (pure). */
import { quantityBytes } from "../../lib/quantity.ts";
import { element } from "./element.ts";
import type { Element } from "./element.ts";

const KIBIBYTE = 1024;

export function memory(guest: string): Element[] {
  const kibibytes = String(Math.floor(quantityBytes(guest) / KIBIBYTE));
  return [element("memory", { unit: "KiB" }, [kibibytes]), element("currentMemory", { unit: "KiB" }, [kibibytes])];
}
