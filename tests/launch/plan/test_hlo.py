"""Collectives of small programs, counted and weighed by hand."""

import pytest

from launch.plan import hlo

# An all-gather once; an all-reduce in a loop of 3 turns, within a loop whose
# length is data; a permute in a branch.
TEXT = """HloModule jit_step

%cond.1 (p: (s32[], f32[8])) -> pred[] {
  %constant.3 = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[] compare(%get, %constant.3), direction=LT
}

%body.1 (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %all-reduce.2 = f32[8]{0} all-reduce(%x), replica_groups=[2,4]<=[8]
}

%open.cond (p: (s32[], s32[])) -> pred[] {
  ROOT %lt.2 = pred[] compare(%get.1, %get.2), direction=LT
}

%branch.0 (p: f32[8]) -> f32[8] {
  %permute = bf16[2,4]{1,0} collective-permute(%p), source_target_pairs={{0,1}}
}

%open.body (p: (s32[], s32[])) -> (s32[], s32[]) {
  %while.2 = (s32[], f32[8]) while(%t), condition=%cond.1, body=%body.1
  %c = f32[8] conditional(%i, %a, %b), branch_computations={%branch.0, %empty}
}

ENTRY %main.5 (p: f32[8]) -> f32[8] {
  %all-gather.1 = bf16[16,2]{1,0} all-gather(%p), replica_groups={{0,1}}
  ROOT %while.1 = (s32[]) while(%u), condition=%open.cond, body=%open.body
}
"""


def test_collectives_by_kind():
  assert hlo.collectives(TEXT) == (
    # 64 bytes, of which a chip of two sends half.
    hlo.Collective('all-gather', 1, 32, False),
    # 3 times 32 bytes among 4: each passes 3/4 on twice.
    hlo.Collective('all-reduce', 3, 3 * 48, True),
    hlo.Collective('collective-permute', 1, 16, True),
  )


@pytest.mark.parametrize(
  'kind, shape, groups, is_start, expected',
  [
    ('all-gather', 'f32[8]', '[2,4]<=[8]', False, 24),
    # The result of a start holds its operand too.
    ('all-gather', '(f32[2], f32[8])', '[2,4]<=[8]', True, 24),
    ('all-reduce', '(f32[4], f32[4])', '{{0,1,2,3}}', False, 48),
    ('reduce-scatter', 'f32[2]', '[2,4]<=[8]', False, 24),
    ('all-to-all', 's8[16]', "mesh['a'=4,'b'=2] {'a'}", False, 12),
    (
      'all-to-all',
      's8[16]',
      "mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}",
      False,
      12,
    ),
    ('collective-permute', 'pred[5]', '', False, 5),
  ],
)
def test_bytes_sent(kind, shape, groups, is_start, expected):
  rest = f'%x), replica_groups={groups}, dimensions={{0}}'
  assert hlo.sent_bytes(kind, shape, rest, is_start) == expected
