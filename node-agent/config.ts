/** The agent's configuration: one schema, and what each key means. */
import { isAbsolute } from "node:path";
import * as v from "valibot";
import { ConfigExit, loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";
import { parseQuantity } from "../lib/quantity.ts";
import { stateDirectoryFault } from "./storage/paths.ts";

const path = v.pipe(v.string(), v.check(isAbsolute, "must be an absolute path"));
const word = v.pipe(v.string(), v.minLength(1));
const quantity = v.pipe(
  v.string(),
  v.check((text) => parseQuantity(text) !== undefined, 'must be a quantity such as "512Mi"'),
  v.transform((text) => Number(parseQuantity(text))),
);

const schema = v.strictObject({
  server: word,
  tls: v.strictObject({ ca: path, cert: path, key: path }),
  stateDirectory: v.pipe(path, v.check((directory) => stateDirectoryFault(directory) === undefined, "is too long: sockets are made below it")),
  libvirtUri: v.optional(word, "qemu:///system"),
  pools: v.optional(v.array(v.strictObject({ name: v.pipe(v.string(), v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)), path })), []),
  migration: v.optional(v.strictObject({ libvirtUri: word, memoryUri: word, tls: v.optional(v.boolean(), true) })),
  allowEmulation: v.optional(v.boolean(), false),
  canary: v.optional(v.strictObject({ kernel: path, initrd: path })),
  reservedMemory: v.optional(quantity, "512Mi"),
  logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
});

export type AgentConfig = v.InferOutput<typeof schema>;

const HELP = `Keys of FILE (YAML):
  server            host:port of the API server's listener for agents
  tls               {ca, cert, key}: PEM files; the certificate's URI names the node: spiffe://DOMAIN/node/NAME
  stateDirectory    where the agent keeps its identity, and machines their consoles and seed images. A machine takes
                    these paths with it when it moves, so it must be the same on every node
  libvirtUri        default qemu:///system
  pools             [{name, path}]: directories with images; a shared one has the same name and content on each node
  migration         {libvirtUri, memoryUri, tls}: where other nodes reach this one, such as qemu+tls://10.0.0.1/system
                    and tcp://10.0.0.1. Absent: the node receives no migrations. tls (default true) encrypts memory
  allowEmulation    run guests without KVM where it does not work; default false
  canary            {kernel, initrd} of the guest that proves KVM; absent: KVM is never verified
  reservedMemory    kept back for the host itself; default 512Mi
  logLevel          ${LOG_LEVELS.join(", ")}; default info
`;

export function loadAgentConfig(): AgentConfig {
  const config = loadConfig(schema, {
    name: "drover-node-agent",
    summary: "Runs this host's machines as the API server's records say.",
    help: HELP,
    argv: process.argv.slice(2),
  });
  const names = new Set(config.pools.map(({ name }) => name));
  if (names.size !== config.pools.length) throw new ConfigExit(2, "pools: two pools have the same name");
  return config;
}
