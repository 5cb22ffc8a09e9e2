/** Which commands there are. Each is loaded only when it is the one that is called, so that the command starts fast. */
import type { AnyCommand } from "../command.ts";

type Loader = () => Promise<AnyCommand[]>;

const LOADERS: Record<string, Loader> = {
  apply: async () => [(await import("./apply.ts")).apply],
  get: async () => [(await import("./get.ts")).get],
  describe: async () => [(await import("./describe.ts")).describe],
  delete: async () => [(await import("./delete.ts")).remove],
  start: async () => [(await import("./verbs.ts")).start],
  stop: async () => [(await import("./verbs.ts")).stop],
  restart: async () => [(await import("./verbs.ts")).restart],
  pause: async () => [(await import("./acts.ts")).pause],
  unpause: async () => [(await import("./acts.ts")).unpause],
  reset: async () => [(await import("./acts.ts")).reset],
  migrate: async () => [(await import("./migrate.ts")).migrate],
  migration: async () => [(await import("./migrate.ts")).cancelMigration],
  logs: async () => [(await import("./console.ts")).logs],
  console: async () => [(await import("./console.ts")).console_],
  node: async () => {
    const { nodeList, cordon, uncordon, confirmFenced, createToken, revoke } = await import("./node.ts");
    const { drain } = await import("./drain.ts");
    return [nodeList, cordon, uncordon, drain, confirmFenced, createToken, revoke];
  },
  login: async () => [(await import("./login.ts")).login],
  context: async () => {
    const { contextList, contextUse } = await import("./login.ts");
    return [contextList, contextUse];
  },
  auth: async () => {
    const { whoami, canI, tokenCreate, tokenList, tokenRevoke, certificate } = await import("./auth.ts");
    return [whoami, canI, tokenCreate, tokenList, tokenRevoke, certificate];
  },
  audit: async () => {
    const { auditList, auditExport, auditVerify } = await import("./audit.ts");
    return [auditList, auditExport, auditVerify];
  },
  explain: async () => [(await import("./explain.ts")).explain],
  events: async () => [(await import("./events.ts")).events],
  version: async () => [(await import("./version.ts")).version],
};

/** The commands that one of the words may mean; all of them when none is known, so that help can list them. */
export async function commandsFor(argv: readonly string[]): Promise<AnyCommand[]> {
  const first = argv.filter((word) => Object.hasOwn(LOADERS, word));
  const loaders = first.length > 0 ? first.map((word) => LOADERS[word]!) : Object.values(LOADERS);
  return (await Promise.all([...new Set(loaders)].map((load) => load()))).flat();
}
