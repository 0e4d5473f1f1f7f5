import { check, policyCheck } from './check.ts';
import { dkimRotate, dkimStatus } from './dkim.ts';
import { dkimExport, dkimImport } from './dkim-copy.ts';
import { dns } from './dns.ts';
import { explainCommand } from './explain.ts';
import { forwardClear, forwardSet, forwardShow } from './forward.ts';
import { identityList, identityStandings } from './identity.ts';
import { join, nodeInvite } from './join.ts';
import type { Command } from './line.ts';
import { listAdd, listCreate, listDelete, listMembers, listRemove, listRenew, listSet, listShow } from './list.ts';
import { nodeList, nodeRevoke } from './node-certificates.ts';
import { nodeEvidence } from './node-evidence.ts';
import { policyCodes, policyEvidence, policySchemaCommand } from './policy-evidence.ts';
import { policyReplay } from './policy-replay.ts';
import { policyHistory, policyInit, policyPromote, policyRollback } from './policy-revisions.ts';
import { policyTest } from './policy-test.ts';
import { policyUserCheck, policyUserPeople, policyUserRemove, policyUserSet, policyUserShow } from './policy-user.ts';
import { queueList, queueShow, queueSteer } from './queue.ts';
import { queueLanes, queuePause, queueResume } from './queue-lanes.ts';
import { recover } from './recover.ts';
import { gateway, node } from './run.ts';
import { init, up } from './start.ts';
import { status } from './status.ts';
import { storeStats, storeVerify } from './store.ts';
import { suppressionAdd, suppressionList, suppressionRemove } from './suppression.ts';
import { tlsReportCommand } from './tls-report.ts';
import { trace } from './trace.ts';
import { userAdd, userList, userPasswd, userRevoke } from './user.ts';
import { userRenew, userTake } from './user-renew.ts';

/** Every command, in the order in which `epost --help` shows them. */
export const commands: readonly Command[] = [
  init,
  up,
  node,
  gateway,
  nodeInvite,
  nodeList,
  nodeRevoke,
  nodeEvidence,
  join,
  userAdd,
  userList,
  userPasswd,
  userRenew,
  userTake,
  userRevoke,
  listCreate,
  listShow,
  listMembers,
  listAdd,
  listRemove,
  listSet,
  listRenew,
  listDelete,
  forwardSet,
  forwardShow,
  forwardClear,
  ...identityStandings,
  identityList,
  queueList,
  queueShow,
  ...queueSteer,
  queuePause,
  queueResume,
  queueLanes,
  suppressionList,
  suppressionAdd,
  suppressionRemove,
  policyCheck,
  policyTest,
  policyReplay,
  policyInit,
  policyPromote,
  policyHistory,
  policyRollback,
  policyEvidence,
  policySchemaCommand,
  policyCodes,
  policyUserSet,
  ...policyUserPeople,
  policyUserShow,
  policyUserCheck,
  policyUserRemove,
  trace,
  explainCommand,
  dns,
  dkimStatus,
  dkimRotate,
  dkimExport,
  dkimImport,
  tlsReportCommand,
  check,
  storeStats,
  storeVerify,
  status,
  recover,
];
