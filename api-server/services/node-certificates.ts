/** Certificates for nodes: at enrolment and at renewal, and the record that says which of them count. */
import type { NodeCertificates as Answer } from "../../gen/drover/agent/v1/agent.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { Authority, NodeKeys } from "../authority/authority.ts";
import { keyOfRequest } from "../authority/certificates.ts";
import { metaOf } from "../kinds/kind.ts";
import { nodes } from "../kinds/node.ts";
import type { Call, Objects } from "../objects.ts";
import type { NodeIdentities } from "../sessions/node-identities.ts";
import { notStanding } from "../sessions/node-identities.ts";
import type { AgentIdentity } from "../sessions/node-sessions.ts";
import { enrolled, identityOf, renewed, stands } from "../subresources/identity.ts";
import type { Lifetime } from "../../lib/pki/lifetime.ts";

export type NodeCertificatesParts = {
  objects: Objects;
  authority: Authority;
  identities: NodeIdentities;
  /** "host:port" of the agents' listener, once it listens. */
  agentsAddress: () => string;
};

type Requests = { csrPem: string; migrationCsrPem: string };

export class NodeCertificates {
  readonly #parts: NodeCertificatesParts;

  constructor(parts: NodeCertificatesParts) {
    this.#parts = parts;
  }

  /** The keys that are asked for; throws InvalidArgument before anything is used up. */
  async keysOf({ csrPem, migrationCsrPem }: Requests): Promise<NodeKeys> {
    const [agent, migration] = await Promise.all([keyOfRequest(csrPem, "csr_pem"), keyOfRequest(migrationCsrPem, "migration_csr_pem")]);
    return { agent, migration };
  }

  /** Uses the token up, and only then signs: whoever comes second gets nothing. */
  async enrol(name: string, { digest, now, keys }: { digest: string; now: Date; keys: NodeKeys }, call: Call): Promise<Answer> {
    const { objects, authority } = this.#parts;
    const life = authority.newLife();
    const node = await objects.change(nodes, { name }, (found) => enrolled(found, { digest, now, expires: life.notAfter }), call);
    return this.#certificates(node, keys, life);
  }

  /** For the identity that the caller has, and no other. */
  async renew(agent: AgentIdentity, keys: NodeKeys, call: Call): Promise<Answer> {
    const { objects, authority } = this.#parts;
    const life = authority.newLife();
    const standing = (found: Node) => {
      if (!stands(found, agent)) throw notStanding();
      return renewed(found, life.notAfter);
    };
    const node = await objects.change(nodes, { name: agent.name }, standing, call);
    return this.#certificates(node, keys, life);
  }

  async #certificates(node: Node, keys: NodeKeys, life: Lifetime): Promise<Answer> {
    const { authority, identities, agentsAddress } = this.#parts;
    identities.learn(node);
    const { uid, name } = metaOf(node);
    const { incarnation } = identityOf(node);
    const { agent, migration } = await authority.issueNode({ uid, incarnation }, keys, life);
    return {
      certificatePem: agent.pem,
      migrationCertificatePem: migration.pem,
      caPem: authority.caPem,
      migrationCaPem: authority.migrationCaPem,
      nodeName: name,
      nodeUid: uid,
      incarnation,
      expireTime: agent.life.notAfter,
      agentsAddress: agentsAddress(),
    };
  }
}
