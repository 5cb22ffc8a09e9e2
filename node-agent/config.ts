/** The agent's configuration: one schema, and what each key means. */
import { isAbsolute } from "node:path";
import * as v from "valibot";
import { ConfigExit, loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";
import { parseQuantity } from "../lib/quantity.ts";
import { QUIET_MS } from "./migration/source.ts";
import { stateDirectoryFault } from "./storage/paths.ts";

const path = v.pipe(v.string(), v.check(isAbsolute, "must be an absolute path"));
const word = v.pipe(v.string(), v.minLength(1));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const quantity = v.pipe(
  v.string(),
  v.check((text) => parseQuantity(text) !== undefined, 'must be a quantity such as "512Mi"'),
  v.transform((text) => Number(parseQuantity(text))),
);

const schema = v.strictObject({
  server: word,
  stateDirectory: v.pipe(path, v.check((directory) => stateDirectoryFault(directory) === undefined, "is too long: sockets are made below it")),
  libvirtUri: v.optional(word, "qemu:///system"),
  pools: v.optional(v.array(v.strictObject({ name: v.pipe(v.string(), v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)), path })), []),
  migration: v.optional(v.strictObject({
    address: v.pipe(v.string(), v.ip("must be an IP address")),
    ports: v.optional(v.pipe(
      v.strictObject({ first: port, last: port }),
      v.check(({ first, last }) => first <= last, "first must not be above last"),
    )),
    qemuPkiDirectory: v.optional(path, "/etc/pki/qemu"),
    quietMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(600_000)), QUIET_MS),
  })),
  allowEmulation: v.optional(v.boolean(), false),
  canary: v.optional(v.strictObject({ kernel: path, initrd: path })),
  reservedMemory: v.optional(quantity, "512Mi"),
  logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
});

export type AgentConfig = v.InferOutput<typeof schema>;

const HELP = `\`drover-node-agent join --help\` says how a host becomes a node.

Keys of FILE (YAML):
  server            host:port of the API server's listener for agents
  stateDirectory    where the node's identity is kept, as \`drover-node-agent join\` made it, and machines have their
                    consoles and seed images. A machine takes these paths with it when it moves, so it must be the same
                    on every node
  libvirtUri        default qemu:///system
  pools             [{name, path}]: directories with images; a shared one has the same name and content on each node
  migration         {address, ports, qemuPkiDirectory, quietMs}: the IP address at which this node receives migrations; ports
                    {first, last} for the doors that it opens to their sources, default any that is free; the directory
                    of qemu.conf's migrate_tls_x509_cert_dir, default /etc/pki/qemu, where the agent puts QEMU's
                    certificate; milliseconds, from 100 to 600000, between the two looks that must both find no transfer
                    before one whose end nobody saw counts as over, default ${QUIET_MS}. Absent: the node takes no part in
                    any. libvirt itself listens on no network
  allowEmulation    run guests without KVM where it does not work; default false
  canary            {kernel, initrd} of the guest that proves KVM; absent: KVM is never verified
  reservedMemory    kept back for the host itself; default 512Mi
  logLevel          ${LOG_LEVELS.join(", ")}; default info
`;

export function loadAgentConfig(): AgentConfig {
  return load(process.argv.slice(2));
}

/** For what is done beside the agent. */
export function agentConfigIn(file: string): AgentConfig {
  return load(["--config", file]);
}

function load(argv: readonly string[]): AgentConfig {
  const config = loadConfig(schema, {
    name: "drover-node-agent",
    summary: "Runs this host's machines as the API server's records say.",
    help: HELP,
    argv,
  });
  const names = new Set(config.pools.map(({ name }) => name));
  if (names.size !== config.pools.length) throw new ConfigExit(2, "pools: two pools have the same name");
  return config;
}
