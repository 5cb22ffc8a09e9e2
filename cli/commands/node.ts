/** `node ...`: what an administrator does to hosts. */
import { createInterface } from "node:readline/promises";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import { command, duration, text, toggle } from "../command.ts";
import { endedLine } from "../drain-state.ts";
import { CommandFailed, UsageError } from "../failure.ts";
import { nodes } from "../kinds/node.ts";
import { objectName } from "../print.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { listObjects, watchObjects } from "./get.ts";

export const nodesOf = ({ connection }: Session) => connection.client(NodeServiceDefinition);
export const plainName = (arg: string) => arg.replace(/^(node|no|nodes)\//, "");

export const nodeList = command({
  path: ["node", "list"],
  summary: "Show the nodes",
  flags: {
    watch: toggle("-w, --watch", "go on and show every change"),
    labels: text("-l, --selector <selector>", "only nodes with these labels"),
  },
  async run({ flags, session }) {
    const selection = { namespace: "", ...(flags.labels !== undefined && { labelSelector: flags.labels }) };
    if (flags.watch) return watchObjects(session, nodes, { selection, everywhere: false });
    return listObjects(session, nodes, { selection, everywhere: false });
  },
});

export const cordon = command({
  path: ["node", "cordon"],
  summary: "Take no new machines on nodes; what runs there stays",
  args: ["<nodes...>"],
  flags: {},
  async run({ args, session }) {
    for (const name of args.map(plainName)) {
      await mutate(session, (requestId, signal) => nodesOf(session).cordonNode({ name, requestId, validateOnly: false }, { signal }));
      session.out.line(`${objectName(nodes, name)} cordoned`);
    }
  },
});

export const uncordon = command({
  path: ["node", "uncordon"],
  summary: "Take new machines on nodes again; ends a drain, of which what has begun goes on",
  args: ["<nodes...>"],
  flags: {},
  async run({ args, session }) {
    for (const name of args.map(plainName)) {
      const { node } = await mutate(session, (requestId, signal) => nodesOf(session).uncordonNode({ name, requestId, validateOnly: false }, { signal }));
      const ended = endedLine(node!);
      session.out.line(`${objectName(nodes, name)} uncordoned${ended && `; ${ended}`}`);
    }
  },
});

export const confirmFenced = command({
  path: ["node", "confirm-fenced"],
  summary: "State that a node's machines do not run and cannot come back, so that they may start elsewhere",
  args: ["<node>"],
  flags: {
    reason: text("--reason <text>", "how it was made sure, for the audit"),
    typed: text("--yes-i-typed <node>", "the node's name once more, in place of the question"),
  },
  more: "A false statement can run a machine twice and destroy its disks. Power the host off first.",
  async run({ args, flags, session }) {
    const name = plainName(args[0]!);
    const { reason } = flags;
    if (reason === undefined || reason === "") throw new UsageError("--reason TEXT is required");
    const typedName = flags.typed ?? (await ask(session, name));
    if (typedName !== name) throw new CommandFailed(`the typed name "${typedName}" is not "${name}": nothing was done`);
    await mutate(session, (requestId, signal) =>
      nodesOf(session).confirmFenced({ name, typedName, reason, requestId, validateOnly: false }, { signal }));
    session.out.line(`${objectName(nodes, name)} confirmed as fenced`);
  },
});

const TOKEN_MS = 600_000;

export const createToken = command({
  path: ["node", "token", "create"],
  summary: "Make the token by which a host becomes a node; it is shown once and can be used once",
  args: ["<node>"],
  flags: { ttl: duration("--ttl <duration>", "how long it can be used, at most 1h", TOKEN_MS) },
  more: `On the host: drover-node-agent join SERVER TOKEN. Whoever has the token can be the node. It takes the place of the
token before. Where the node has an agent already, that one is put out when the token is used.`,
  async run({ args, flags, session }) {
    const name = plainName(args[0]!);
    const ttlSeconds = Math.ceil(flags.ttl / 1_000);
    const { token, expireTime } = await mutate(session, (requestId, signal) =>
      nodesOf(session).createNodeToken({ name, ttlSeconds, requestId, validateOnly: false }, { signal }));
    session.out.line(token);
    session.out.remark(`for ${objectName(nodes, name)}, until ${expireTime?.toISOString() ?? ""}; it is not shown again`);
  },
});

export const revoke = command({
  path: ["node", "revoke"],
  summary: "Put a node's agent out at once, until it joins with a new token; what runs there runs on",
  args: ["<node>"],
  flags: {},
  async run({ args, session }) {
    const name = plainName(args[0]!);
    await mutate(session, (requestId, signal) => nodesOf(session).revokeNode({ name, requestId, validateOnly: false }, { signal }));
    session.out.line(`${objectName(nodes, name)} revoked`);
  },
});

async function ask({ out, signal }: Session, name: string): Promise<string> {
  if (!process.stdin.isTTY) throw new UsageError(`--yes-i-typed ${name} is required where nobody can be asked`);
  out.remark(`Machines of ${name} will be started elsewhere. If one of them still runs there, its disks are destroyed.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question("Type the node's name to confirm: ", { signal });
  } finally {
    terminal.close();
  }
}
