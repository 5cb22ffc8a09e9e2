/** `drover-node-agent join`: makes this host a node, and says what is next. A program of its own, as the agent need not run. */
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { systemClock } from "../../lib/clock.ts";
import { ConfigExit, runProgram } from "../../lib/config.ts";
import type { NodeCertificates } from "../../gen/drover/agent/v1/agent.ts";
import { agentConfigIn } from "../config.ts";
import { CannotJoin, joinFleet } from "./join.ts";

const USAGE = `Usage: drover-node-agent join SERVER TOKEN (--config FILE | --state-directory DIR) [--force]

Makes this host a node of the fleet. Its keys are made here and stay here; the token is used up.

  SERVER                  host:port of the API server's listener for enrolment, usually port 7445
  TOKEN                   as \`drover node token create NODE\` printed it; "-" reads it from standard input, where no
                          list of processes shows it
  --config FILE           the agent's configuration; only its stateDirectory is used
  --state-directory DIR   where the identity is kept, in DIR/pki, in place of --config
  --force                 give up the identity that this host has
`;

type Arguments = { server: string; token: string; stateDirectory: string; force: boolean };

function readArguments(argv: string[]): Arguments {
  const { values, positionals } = parsed(argv);
  if (values.help) throw new ConfigExit(0, USAGE);
  const [server, token, ...rest] = positionals;
  if (server === undefined || token === undefined || rest.length > 0) throw usage("SERVER and TOKEN are required, and nothing more");
  const { config, "state-directory": directory, force } = values;
  if ((config === undefined) === (directory === undefined)) throw usage("one of --config and --state-directory is required");
  const stateDirectory = directory === undefined ? agentConfigIn(config!).stateDirectory : resolve(directory);
  return { server: addressIn(server), token, stateDirectory, force };
}

function parsed(argv: string[]) {
  const flag = { type: "boolean", default: false } as const;
  const options = { config: { type: "string" }, "state-directory": { type: "string" }, force: flag, help: { ...flag, short: "h" } } as const;
  try {
    return parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw usage((error as Error).message);
  }
}

function addressIn(server: string): string {
  if (/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/.test(server)) return server;
  throw usage(`SERVER must be host:port, not "${server}"`);
}

const usage = (fault: string) => new ConfigExit(2, `drover-node-agent join: ${fault}\n\n${USAGE}`);

/** Where the agents' listener is, as far as the server and the caller know together. */
function agentsServer(server: string, { agentsAddress }: NodeCertificates): string {
  return agentsAddress.startsWith(":") ? `${server.replace(/:\d+$/, "")}${agentsAddress}` : agentsAddress;
}

await runProgram(async () => {
  const { server, token, stateDirectory, force } = readArguments(process.argv.slice(2));
  const given = token === "-" ? (await text(process.stdin)).trim() : token;
  try {
    const certificates = await joinFleet({ server, token: given, stateDirectory, force, clock: systemClock });
    const { nodeName, nodeUid, expireTime } = certificates;
    process.stdout.write(`This host is node "${nodeName}" (${nodeUid}), by a certificate until ${expireTime?.toISOString()} that the agent renews.
Start the agent with these in its configuration, if it does not run:
  server: ${agentsServer(server, certificates)}
  stateDirectory: ${stateDirectory}
`);
  } catch (error) {
    if (error instanceof CannotJoin) throw new ConfigExit(1, `drover-node-agent join: ${error.message}`);
    throw error;
  }
});
