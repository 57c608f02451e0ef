"""Models of sequences, graphs and tables, as people write them: `nn` is PyTorch's or modgrad's."""

import math

import torch
import torch.nn.functional as F

from tests.interop.ported import model


@model((2, 7, 6))
def llama(nn):
    class RMS(nn.Module):
        def __init__(self, d, eps=1e-6):
            super().__init__()
            self.eps = eps
            self.weight = nn.Parameter(torch.ones(d))

        def _norm(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

        def forward(self, x):
            return self._norm(x) * self.weight

    def rope(x):
        t = torch.arange(x.shape[-2], dtype=x.dtype)
        f = 1.0 / (100 ** (torch.arange(0, x.shape[-1], 2, dtype=x.dtype) / x.shape[-1]))
        a = torch.outer(t, f)
        c, s = torch.cos(a).repeat(1, 2), torch.sin(a).repeat(1, 2)
        x1, x2 = x.chunk(2, dim=-1)
        return x * c + torch.cat((-x2, x1), dim=-1) * s

    class Attn(nn.Module):
        def __init__(self, d, h, kv):
            super().__init__()
            self.h, self.kv, self.hd = h, kv, d // h
            self.wq = nn.Linear(d, d, bias=False)
            self.wk = nn.Linear(d, kv * self.hd, bias=False)
            self.wv = nn.Linear(d, kv * self.hd, bias=False)
            self.wo = nn.Linear(d, d, bias=False)

        def forward(self, x):
            b, t, _ = x.shape
            q = self.wq(x).view(b, t, self.h, self.hd).transpose(1, 2)
            k = self.wk(x).view(b, t, self.kv, self.hd).transpose(1, 2)
            v = self.wv(x).view(b, t, self.kv, self.hd).transpose(1, 2)
            q, k = rope(q), rope(k)
            k = k[:, :, None, :, :].expand(b, self.kv, self.h // self.kv, t, self.hd).reshape(b, self.h, t, self.hd)
            v = v.repeat_interleave(self.h // self.kv, dim=1)
            s = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.hd)
            mask = torch.full((t, t), float("-inf"), dtype=x.dtype)
            mask = torch.triu(mask, diagonal=1)
            s = F.softmax(s + mask, dim=-1)
            o = torch.matmul(s, v).transpose(1, 2).contiguous().view(b, t, -1)
            return self.wo(o)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            d = 8
            self.n1, self.n2 = RMS(d), RMS(d)
            self.at = Attn(d, 4, 2)
            self.w1, self.w2, self.w3 = (
                nn.Linear(d, 16, bias=False),
                nn.Linear(16, d, bias=False),
                nn.Linear(d, 16, bias=False),
            )

        def forward(self, x):
            x = x + self.at(self.n1(x))
            h = self.n2(x)
            return x + self.w2(F.silu(self.w1(h)) * self.w3(h))

    return nn.Sequential(nn.Linear(6, 8), Block(), Block())


@model((3, 10))
def vae(nn):
    class V(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(10, 8)
            self.mu = nn.Linear(8, 3)
            self.lv = nn.Linear(8, 3)
            self.d = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 10))

        def forward(self, x):
            h = F.elu(self.e(x))
            mu, lv = self.mu(h), self.lv(h)
            std = torch.exp(0.5 * lv)
            eps = torch.randn_like(std)
            z = mu + eps * std
            r = torch.sigmoid(self.d(z))
            bce = F.binary_cross_entropy(r, torch.sigmoid(x), reduction="sum")
            kld = -0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp())
            return bce + kld

    return V()


@model((5, 2, 4), (6, 2, 4))
def seq2seq(nn):
    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.GRU(4, 5, bidirectional=True)
            self.dec = nn.GRUCell(4 + 10, 10)
            self.at = nn.Linear(20, 1)
            self.out = nn.Linear(20, 4)
            self.br = nn.Linear(10, 10)

        def forward(self, src, tgt):
            enc, h = self.enc(src)
            h = torch.tanh(self.br(torch.cat((h[0], h[1]), dim=1)))
            outs = []
            for t in range(tgt.size(0)):
                e = self.at(torch.cat([h.unsqueeze(0).expand(enc.size(0), -1, -1), enc], -1)).squeeze(-1)
                a = F.softmax(e, dim=0).t().unsqueeze(1)
                c = torch.bmm(a, enc.permute(1, 0, 2)).squeeze(1)
                h = self.dec(torch.cat([tgt[t], c], 1), h)
                outs.append(self.out(torch.cat((h, c), 1)))
            return torch.stack(outs)

    return S()


@model((2, 4, 20))
def wavenet(nn):
    class B(nn.Module):
        def __init__(self, c, d):
            super().__init__()
            self.d = d
            self.f = nn.Conv1d(c, c, 2, dilation=d)
            self.g = nn.Conv1d(c, c, 2, dilation=d)
            self.r = nn.Conv1d(c, c, 1)
            self.s = nn.Conv1d(c, c, 1)

        def forward(self, x):
            y = F.pad(x, (self.d, 0))
            z = torch.tanh(self.f(y)) * torch.sigmoid(self.g(y))
            return self.r(z) + x, self.s(z)

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.bs = nn.ModuleList([B(4, 2**i) for i in range(3)])

        def forward(self, x):
            t = 0
            for b in self.bs:
                x, s = b(x)
                t = t + s
            return F.relu(t).mean(dim=-1)

    return N()


@model((6, 5))
def moe(nn):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(5, 4)
            self.ex = nn.ModuleList(
                nn.Sequential(nn.Linear(5, 7), nn.GELU(approximate="tanh"), nn.Linear(7, 5)) for _ in range(4)
            )

        def forward(self, x):
            p = F.softmax(self.gate(x), dim=1)
            w, idx = torch.topk(p, 2, dim=-1)
            w = w / w.sum(-1, keepdim=True)
            out = torch.zeros_like(x)
            m = F.one_hot(idx, 4).permute(2, 1, 0)
            for e in range(4):
                k, i = torch.where(m[e])
                cur = x[None, i].reshape(-1, 5)
                y = self.ex[e](cur) * w[i, k, None]
                out = out.index_add(0, i, y)
            return out

    return M()


@model((5, 4))
def gcn(nn):
    class G(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.empty(4, 6))
            nn.init.xavier_uniform_(self.w)
            self.a = nn.Parameter(torch.randn(12, 1) * 0.3)
            self.register_buffer("adj", (torch.eye(5) + torch.eye(5).roll(1, 0)) > 0)

        def forward(self, x):
            h = torch.mm(x, self.w)
            e = F.leaky_relu(torch.matmul(h, self.a[:6]) + torch.matmul(h, self.a[6:]).T, 0.2)
            at = torch.where(self.adj, e, torch.full_like(e, -9e15))
            at = F.softmax(at, dim=1)
            edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
            agg = torch.zeros_like(h).scatter_add(0, edges[1][:, None].expand(-1, 6), h[edges[0]])
            return F.elu(at @ h) + agg / agg.norm(dim=1, keepdim=True).clamp(min=1e-6)

    return G()


@model((2, 5, 8))
def transformer(nn):
    class T(nn.Module):
        def __init__(self):
            super().__init__()
            self.pos = nn.Parameter(torch.zeros(1, 5, 8))
            layer = nn.TransformerEncoderLayer(
                8, 2, 16, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
            )
            self.e = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.cls = nn.Parameter(torch.randn(1, 1, 8))
            self.h = nn.Linear(8, 3)

        def forward(self, x):
            x = x + self.pos
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1)
            m = nn.Transformer.generate_square_subsequent_mask(6, dtype=x.dtype)
            return self.h(self.e(x, mask=m)[:, 0])

    return T()


@model((2, 6, 5))
def ssm(nn):
    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.A = nn.Parameter(torch.log(torch.arange(1, 4, dtype=torch.float32).repeat(5, 1)))
            self.inp = nn.Linear(5, 6)
            self.dt = nn.Linear(5, 5)
            self.D = nn.Parameter(torch.ones(5))
            self.conv = nn.Conv1d(5, 5, 3, groups=5, padding=2)

        def forward(self, u):
            u = self.conv(u.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2)
            u = F.silu(u)
            B, C = self.inp(u).split([3, 3], dim=-1)
            d = F.softplus(self.dt(u))
            A = -torch.exp(self.A.to(u.dtype))
            dA = torch.exp(torch.einsum("bld,dn->bldn", d, A))
            dB = torch.einsum("bld,bln,bld->bldn", d, B, u)
            h = torch.zeros(u.size(0), 5, 3, dtype=u.dtype)
            ys = []
            for i in range(u.shape[1]):
                h = dA[:, i] * h + dB[:, i]
                ys.append(torch.einsum("bdn,bn->bd", h, C[:, i]))
            return torch.stack(ys, 1) + u * self.D

    return S()
