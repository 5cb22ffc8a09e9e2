/** Bounds on quantities, exact at any size. Pure. */
import type { Fault } from "../../lib/errors.ts";
import { parseQuantity } from "../../lib/quantity.ts";

type Bounds = { min: string; max: string; multipleOf: bigint };

export function quantityBetween(path: string, text: string, { min, max, multipleOf }: Bounds): Fault[] {
  const bytes = parseQuantity(text);
  const allowed = `a quantity from ${min} to ${max} that is a multiple of ${multipleOf} bytes, such as "4Gi"`;
  const fits = bytes !== undefined && bytes >= parseQuantity(min)! && bytes <= parseQuantity(max)! && bytes % multipleOf === 0n;
  return fits ? [] : [{ path, message: `must be ${allowed}: current value is ${JSON.stringify(text)}` }];
}

export const DISK_SIZE: Bounds = { min: "1Mi", max: "16Ti", multipleOf: 512n };
export const MEMORY_SIZE: Bounds = { min: "1Mi", max: "16Ti", multipleOf: 1024n };
