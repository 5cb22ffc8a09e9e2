/** All attacks for a long time each, and a table of how they went. */
import { besiege, described, HEADING, type Siege } from "../test/security/attacks/siege.ts";
import { SIEGES } from "../test/security/attacks/sieges.ts";
import { startVictim } from "../test/security/attacks/victim.ts";

const seconds = Number(process.env["DROVER_ATTACK_SECONDS"] ?? 60);
const only = process.argv.slice(2);

console.log(HEADING);
// Children are not waited for by the runtime.
const awake = setInterval(() => undefined, 60_000);
const control: Siege = { attack: "nothing", on: "public", as: "nobody" };
for (const siege of [control, ...SIEGES].filter(({ attack }) => only.length === 0 || only.includes(attack))) {
  await using victim = await startVictim();
  await victim.measure(AbortSignal.timeout(3_000));
  const before = await victim.measure(AbortSignal.timeout(Math.min(20, seconds) * 1000));
  console.log(described(await besiege(victim, siege, { before, seconds })));
  const reasons = victim.program.lines().flatMap((line) => /"reason":"([^"]+)".*was cut/.exec(line)?.[1] ?? []);
  console.error(siege.attack, Object.fromEntries([...new Set(reasons)].map((reason) => [reason, reasons.filter((each) => each === reason).length])));
}
clearInterval(awake);
