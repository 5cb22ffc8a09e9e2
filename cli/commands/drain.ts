/** `node drain`: shows what would be done with each machine, asks, has exactly that done, and waits for its end. */
import { createInterface } from "node:readline/promises";
import type { DrainPlan, Node } from "../../gen/drover/v1/node.ts";
import { command, duration, text, toggle } from "../command.ts";
import { drainedFor, plainPlan, planLines, progressLine } from "../drain-state.ts";
import { CommandFailed } from "../failure.ts";
import { nodes } from "../kinds/node.ts";
import { ObjectClient } from "../objects.ts";
import { printData, printDone } from "../print.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { waitFor } from "../wait.ts";
import { nodesOf, plainName } from "./node.ts";

const WAIT_MS = 3_600_000;

export const drain = command({
  path: ["node", "drain"],
  summary: "Move all machines off a node, after a plan; takes no new ones there until it is uncordoned",
  args: ["<node>"],
  flags: {
    dryRun: toggle("--dry-run", "show the plan, and do nothing"),
    yes: toggle("-y, --yes", "do not ask"),
    allowStop: text("--allow-stop <machines>", 'machines that may be stopped though their eviction strategy does not allow it, such as "web,team/db"'),
    allowStopAll: toggle("--allow-stop-all", "the same for every machine that would hold the drain up"),
    wait: toggle("--wait", "return when no machine is left, or when one needs somebody"),
    timeout: duration("--timeout <duration>", "how long to wait", WAIT_MS),
  },
  more: "What is done is what the plan shows: when that has changed meanwhile, nothing is done and the change is told.",
  async run({ args, flags, session }) {
    const name = plainName(args[0]!);
    const asked = { name, allowStop: (flags.allowStop ?? "").split(",").filter(Boolean), allowStopAll: flags.allowStopAll };
    const { plan } = await nodesOf(session).planDrain(asked, { signal: session.signal });
    await showPlan(session, plan!, flags.dryRun);
    if (flags.dryRun) return;
    if (!flags.yes && process.stdin.isTTY) await confirm(session, name);
    const { node } = await mutate(session, (requestId, signal) =>
      nodesOf(session).drainNode({ ...asked, planId: plan!.id, requestId, validateOnly: false }, { signal }));
    if (flags.wait) return watchDrain(session, node!, flags.timeout);
    return answer(session, node!, "is being drained");
  },
});

/** The plan is the answer of a dry run, and else for those who look on. */
async function showPlan({ out }: Session, plan: DrainPlan, isAnswer: boolean): Promise<void> {
  if (!isAnswer) {
    for (const line of planLines(plan)) out.remark(line);
    return;
  }
  return printData(out, plainPlan(plan), planLines(plan));
}

async function confirm({ signal }: Session, name: string): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answered = await terminal.question(`Drain ${name} by this plan? [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answered.trim())) throw new CommandFailed("nothing was done");
  } finally {
    terminal.close();
  }
}

async function watchDrain(session: Session, { metadata, status }: Node, timeoutMs: number): Promise<void> {
  const { name } = metadata!;
  const { out } = session;
  const judge = drainedFor(status!.drain!.uid);
  let told = "";
  let last: Node | undefined;
  await waitFor(session, new ObjectClient(nodes, session), { namespace: "", name }, {
    timeoutMs,
    what: "to be drained",
    judge(node) {
      const line = node ? progressLine(node) : "";
      if (out.showsProgress) out.progress(line);
      else if (line !== told) out.remark(line);
      told = line;
      last = node ?? last;
      return judge(node);
    },
    explain: async () => (last ? progressLine(last) : ""),
  });
  if (last) await answer(session, last, `drained (${progressLine(last)})`);
}

function answer({ out }: Session, node: Node, said: string): Promise<void> {
  return printDone(out, { kind: nodes, object: node, said });
}
