/** `explain`: five steps from the request to libvirt, and the first that holds a machine back. */
import { ExplainVerdict, VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import type { ExplainStep, ExplainVirtualMachineResponse } from "../../gen/drover/v1/virtual_machine.ts";
import { command } from "../command.ts";
import { UsageError } from "../failure.ts";
import { word } from "../kinds/kind.ts";
import { targets } from "../kinds/names.ts";
import type { Key } from "../objects.ts";
import type { Session } from "../session.ts";
import { visible } from "../visible.ts";

export const explain = command({
  path: ["explain"],
  summary: "Say where a machine is held up: request, record, controller, agent, libvirt",
  args: ["<kind>", "[name]"],
  flags: {},
  async run({ args, session }) {
    const { kind, names } = await targets(args);
    // An instance has the name of its machine, so that the answer is the same.
    if (kind.kind !== "VirtualMachine" && kind.kind !== "VirtualMachineInstance") {
      throw new UsageError(`explain knows machines; for a ${kind.kind} see \`drover describe\``);
    }
    if (names.length !== 1) throw new UsageError("one NAME is required");
    const answer = await explainMachine(session, { namespace: session.namespace, name: names[0]! });
    if (session.out.format === "json") session.out.line(JSON.stringify(plainAnswer(answer), null, 4));
    else session.out.lines(explanationLines(answer));
  },
});

export async function explainMachine({ connection, signal }: Session, key: Key): Promise<ExplainVirtualMachineResponse> {
  return connection.client(VirtualMachineServiceDefinition).explainVirtualMachine(key, { signal });
}

const MARKS: Record<number, string> = {
  [ExplainVerdict.OK]: "ok     ",
  [ExplainVerdict.WAITING]: "waiting",
  [ExplainVerdict.HELD]: "HELD   ",
  [ExplainVerdict.UNKNOWN]: "unknown",
};

/** The arrow stands at the step to look at. */
export function explanationLines({ steps, heldAt }: ExplainVirtualMachineResponse): string[] {
  const lines = steps.flatMap((step, index) => stepLines(step, index, index === heldAt));
  const held = steps[heldAt];
  const last = held ? `Held at step ${heldAt + 1}, ${held.name}: ${held.summary}` : "Nothing holds it back.";
  return [...lines, "", visible(last)];
}

function stepLines({ name, verdict, summary, details }: ExplainStep, index: number, held: boolean): string[] {
  const head = `${held ? "->" : "  "} ${index + 1} ${name.padEnd(10)} ${MARKS[verdict] ?? "?      "}  ${summary}`;
  return [head, ...details.map((detail) => `${" ".repeat(25)}${detail}`)].map((line) => visible(line));
}

/** The step that holds a machine back, as one sentence; empty when none does. */
export function heldUp({ steps, heldAt }: ExplainVirtualMachineResponse): string {
  const held = steps[heldAt];
  return held ? `${held.name}: ${held.summary}` : "";
}

const plainAnswer = ({ steps, heldAt }: ExplainVirtualMachineResponse) => ({
  heldAt,
  steps: steps.map(({ name, verdict, summary, details }) => ({ name, verdict: word(ExplainVerdict, verdict), summary, details })),
});
