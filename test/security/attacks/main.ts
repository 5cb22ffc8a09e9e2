/** The attacker's process: an attack by its name, against the target, for so many seconds; it says when it begins. It stands back for everybody else on the machine. */
import { setPriority } from "node:os";
import { ATTACKS, type AttackName } from "./attacks.ts";
import type { Target } from "./raw-connection.ts";

const LOWEST = 19;

const [name, target, seconds] = process.argv.slice(2);
// It stands for machines of its own; on this one it must not take the processor from those whom it attacks.
setPriority(LOWEST);
const ends = AbortSignal.timeout(Number(seconds) * 1000);
ends.addEventListener("abort", () => setTimeout(() => process.exit(0), 1_000));
process.stdout.write("at it\n");
await ATTACKS[name as AttackName](JSON.parse(target!) as Target, ends);
