"""Models of images and points, as people write them: `nn` is PyTorch's or modgrad's."""

import torch
import torch.nn.functional as F

from tests.interop.ported import model


@model((2, 3, 16, 16))
def mobilenet(nn):
    class IR(nn.Module):
        def __init__(self, i, o, s, e):
            super().__init__()
            h = i * e
            self.use = s == 1 and i == o
            self.conv = nn.Sequential(
                nn.Conv2d(i, h, 1, bias=False),
                nn.BatchNorm2d(h),
                nn.ReLU6(inplace=True),
                nn.Conv2d(h, h, 3, s, 1, groups=h, bias=False),
                nn.BatchNorm2d(h),
                nn.ReLU6(inplace=True),
                nn.Conv2d(h, o, 1, bias=False),
                nn.BatchNorm2d(o),
            )

        def forward(self, x):
            if self.use:
                return x + self.conv(x)
            return self.conv(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1, bias=False),
                nn.BatchNorm2d(8),
                nn.Hardswish(inplace=True),
                IR(8, 8, 1, 2),
                IR(8, 12, 2, 3),
            )
            self.classifier = nn.Linear(12, 5)
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out")
                elif isinstance(m, nn.BatchNorm2d):
                    nn.init.ones_(m.weight)
                    nn.init.zeros_(m.bias)

        def forward(self, x):
            x = self.features(x)
            x = F.adaptive_avg_pool2d(x, (1, 1)).reshape(x.shape[0], -1)
            return self.classifier(x)

    return Net()


@model((2, 3, 16, 16))
def squeeze_excite(nn):
    class SE(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.fc1 = nn.Conv2d(c, c // 2, 1)
            self.fc2 = nn.Conv2d(c // 2, c, 1)

        def forward(self, x):
            s = x.mean((2, 3), keepdim=True)
            s = F.silu(self.fc1(s))
            s = torch.sigmoid(self.fc2(s))
            return x * s

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        SE(8),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 3),
    )


@model((2, 3, 16, 16))
def densenet(nn):
    class Layer(nn.Module):
        def __init__(self, i, g):
            super().__init__()
            self.norm = nn.BatchNorm2d(i)
            self.conv = nn.Conv2d(i, g, 3, 1, 1, bias=False)
            self.drop = 0.0

        def forward(self, *xs):
            x = torch.cat(xs, 1)
            x = self.conv(F.relu(self.norm(x), inplace=True))
            return F.dropout(x, p=self.drop, training=self.training)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.layers = nn.ModuleDict({f"l{i}": Layer(4 + 3 * i, 3) for i in range(3)})
            self.head = nn.Linear(13, 4)

        def forward(self, x):
            fs = [self.stem(x)]
            for _, layer in self.layers.items():
                fs.append(layer(*fs))
            return self.head(F.adaptive_avg_pool2d(torch.cat(fs, 1), 1).flatten(1))

    return Net()


@model((2, 8, 8, 4))
def swin(nn):
    class W(nn.Module):
        def __init__(self, d, ws, shift):
            super().__init__()
            self.ws, self.shift = ws, shift
            self.qkv = nn.Linear(d, 3 * d)
            self.proj = nn.Linear(d, d)
            self.norm = nn.LayerNorm(d)
            self.table = nn.Parameter(torch.zeros((2 * ws - 1) ** 2, 2))
            nn.init.trunc_normal_(self.table, std=0.02)
            c = torch.stack(torch.meshgrid(torch.arange(ws), torch.arange(ws), indexing="ij")).flatten(1)
            r = (c[:, :, None] - c[:, None, :]).permute(1, 2, 0).contiguous()
            r[:, :, 0] += ws - 1
            r[:, :, 1] += ws - 1
            r[:, :, 0] *= 2 * ws - 1
            self.register_buffer("index", r.sum(-1))

        def forward(self, x):
            B, H, Wd, C = x.shape
            s = x
            x = self.norm(x)
            if self.shift:
                x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
            ws = self.ws
            x = x.view(B, H // ws, ws, Wd // ws, ws, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, ws * ws, C)
            n = x.shape[0]
            qkv = self.qkv(x).reshape(n, ws * ws, 3, 2, C // 2).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
            a = (q * (C // 2) ** -0.5) @ k.transpose(-2, -1)
            bias = self.table[self.index.view(-1)].view(ws * ws, ws * ws, -1).permute(2, 0, 1).contiguous()
            a = a + bias.unsqueeze(0)
            a = a.softmax(dim=-1)
            x = (a @ v).transpose(1, 2).reshape(n, ws * ws, C)
            x = self.proj(x)
            x = x.view(B, H // ws, Wd // ws, ws, ws, -1).permute(0, 1, 3, 2, 4, 5).contiguous().view(B, H, Wd, -1)
            if self.shift:
                x = torch.roll(x, (self.shift, self.shift), (1, 2))
            return s + x

    return nn.Sequential(W(4, 4, 0), W(4, 4, 2))


@model((2, 4, 1, 1))
def dcgan(nn):
    net = nn.Sequential(
        nn.ConvTranspose2d(4, 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
        nn.Tanh(),
        nn.Conv2d(3, 6, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(6, 1, 4),
        nn.Sigmoid(),
    )

    def init(m):
        if m.__class__.__name__.find("Conv") != -1:
            nn.init.normal_(m.weight.data, 0.0, 0.02)

    net.apply(init)
    return net


@model((2, 12, 3))
def pointnet(nn):
    class P(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1 = nn.Conv1d(3, 8, 1)
            self.b1 = nn.BatchNorm1d(8)
            self.t = nn.Linear(8, 9)
            self.c2 = nn.Conv1d(3, 6, 1)

        def forward(self, x):
            x = x.transpose(2, 1)
            h = F.relu(self.b1(self.c1(x)))
            h = torch.max(h, 2, keepdim=True)[0].view(-1, 8)
            t = self.t(h) + torch.eye(3, dtype=x.dtype).flatten().view(1, 9).repeat(x.size(0), 1)
            x = torch.bmm(x.transpose(2, 1), t.view(-1, 3, 3)).transpose(2, 1)
            x = self.c2(x)
            x, _ = x.max(dim=2)
            return F.log_softmax(x, dim=1)

    return P()


@model((2, 3, 8, 8))
def convnext(nn):
    class LN(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(c))
            self.bias = nn.Parameter(torch.zeros(c))

        def forward(self, x):
            u = x.mean(1, keepdim=True)
            s = (x - u).pow(2).mean(1, keepdim=True)
            x = (x - u) / torch.sqrt(s + 1e-6)
            return self.weight[:, None, None] * x + self.bias[:, None, None]

    class Bl(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.dw = nn.Conv2d(d, d, 7, padding=3, groups=d)
            self.n = nn.LayerNorm(d, eps=1e-6)
            self.p1 = nn.Linear(d, 2 * d)
            self.act = nn.GELU()
            self.p2 = nn.Linear(2 * d, d)
            self.gamma = nn.Parameter(0.1 * torch.ones(d), requires_grad=True)

        def forward(self, x):
            i = x
            x = self.dw(x).permute(0, 2, 3, 1)
            x = self.p2(self.act(self.p1(self.n(x))))
            x = self.gamma * x
            return i + x.permute(0, 3, 1, 2)

    return nn.Sequential(nn.Conv2d(3, 6, 2, 2), LN(6), Bl(6), Bl(6))


@model((3, 6), (3, 6), (3, 6))
def siamese(nn):
    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 4))
            self.l = nn.TripletMarginLoss(1.0, p=2)

        def forward(self, a, p, n):
            a, p, n = self.f(a), self.f(p), self.f(n)
            return (
                self.l(a, p, n)
                + F.cosine_similarity(a, p).mean()
                + F.pairwise_distance(a, n).sum()
                + (F.normalize(a, dim=-1) @ F.normalize(n, dim=-1).T / 0.1).logsumexp(1).mean()
            )

    return S()


@model((2, 3, 12, 12))
def segmentation(nn):
    class A(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.ModuleList([nn.Conv2d(3, 4, 1)] + [nn.Conv2d(3, 4, 3, padding=r, dilation=r) for r in (2, 3)])
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1))
            self.o = nn.Conv2d(16, 2, 1)
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

        def forward(self, x):
            size = x.shape[-2:]
            x = F.max_pool2d(x, 2)
            r = [c(x) for c in self.b]
            r.append(F.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False))
            y = self.o(torch.cat(r, dim=1))
            y = self.up(y)
            assert y.shape[-2:] == size
            p = y.softmax(1)[:, 1]
            t = (x.new_ones(p.shape)).bool()
            dice = 1 - (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)
            return dice.mean() + F.cross_entropy(
                y, torch.ones(2, 12, 12, dtype=torch.long), ignore_index=255, label_smoothing=0.1
            )

    return A()
