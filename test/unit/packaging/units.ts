/** systemd's unit files of this repository, read as far as the tests of them need. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const UNITS_DIRECTORY = join(import.meta.dirname, "../../../packaging/systemd");
export const PROGRAMS = ["api-server", "controller", "node-agent"] as const;
export type Program = (typeof PROGRAMS)[number];

/** The values of a directive, in the order in which they stand. */
export function directive(program: Program, name: string): string[] {
  const lines = readFileSync(join(UNITS_DIRECTORY, `drover-${program}.service`), "utf8").split("\n");
  return lines.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
}

export const words = (program: Program, name: string): string[] => directive(program, name).flatMap((value) => value.split(" ")).filter((word) => word !== "");
