"""The slow and obvious twin of the kernel: plain Python and numpy, one environment, no tricks. Nobody optimises it.

It draws from the same Philox counters with its own implementation, uses libm for every function, computes every window
from scratch, and decides fills by the textbook probability instead of the kernel's reach.
"""

import math

import numpy as np

from hftgym.params import EnvParams

MASK = 0xFFFFFFFF


def philox4x32(counter, key, rounds=10):
    c, k = list(counter), list(key)
    for _ in range(rounds):
        product0, product1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(product1 >> 32) ^ c[1] ^ k[0], product1 & MASK, (product0 >> 32) ^ c[3] ^ k[1], product0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


class Twin:
    def __init__(self, params: EnvParams, seed: int) -> None:
        self.p, self.seed, self.episode = params, seed, -1

    def reset(self):
        p = self.p
        self.episode += 1
        self.tick = 0
        self.prices = [p.initial_price]
        self.cash, self.inventory = p.initial_cash, 0.0
        self.bought = self.sold = 0.0
        self.age, self.lag, self.decisions, self.orders = 0, math.inf, [], []
        self.alpha = self.log_volatility = 0.0
        self.excitement = {1.0: 0.0, -1.0: 0.0}
        self.regime = 1.0 if (self.block(3)[0] + 0.5) / 2**32 < 0.5 else -1.0
        return self.observation()

    def block(self, stream):
        return philox4x32((self.tick, self.episode, stream, 0), (self.seed & MASK, self.seed >> 32))

    def draws(self, stream):
        """Return two normals and two uniforms."""
        a, b, c, d = self.block(stream)
        radius = math.sqrt(-2 * math.log((a + 0.5) / 2**32))
        angle = 2 * math.pi * b / 2**32
        return radius * math.cos(angle), radius * math.sin(angle), (c + 0.5) / 2**32, (d + 0.5) / 2**32

    def moved(self, mid, z1, z2):
        """Return the next mid, and move the hidden state."""
        p = self.p
        z_jump, z_alpha, u_jump, u_regime = self.draws(1)
        z_volatility, *_ = self.draws(2)
        if p.price_steps == "binary":
            z1, z2 = math.copysign(1, z1), math.copysign(1, z2)
        base = mid if p.price_model == "geometric" else p.initial_price
        sigma = p.volatility * math.exp(self.log_volatility) * (p.regime_volatility if self.regime > 0 else 1)
        move = sigma * (z1 + p.microstructure_noise * z2) + p.drift + self.alpha
        move += self.regime * p.regime_drift * p.volatility
        if u_jump < p.jump_probability:
            move += p.jump_mean + p.jump_volatility * z_jump
        if u_regime < p.regime_switching:
            self.regime = -self.regime
        self.alpha = (1 - p.alpha_reversion) * self.alpha + p.alpha_volatility * p.volatility * z_alpha
        self.log_volatility = (1 - p.volatility_reversion) * self.log_volatility
        self.log_volatility += p.volatility_of_volatility * z_volatility
        return max(mid + base * move + p.mean_reversion * (p.initial_price - mid), 1e-6 * p.initial_price)

    def excite(self, side, u):
        """Let a market order raise the intensity of its side."""
        p = self.p
        arrived = self.filled(0.0, u, side)
        self.excitement[side] = (1 - p.excitation_decay) * self.excitement[side] + (p.excitation if arrived else 0)

    def filled(self, distance, u, side):
        if math.isinf(distance):
            return False
        intensity = self.p.arrival_intensity * math.exp(-self.p.fill_decay * distance) * (1 + self.excitement[side])
        if self.p.fill_model == "linear":
            return u < min(1.0, intensity)
        return 1 - u < 1 - math.exp(-intensity)

    def market_order(self, index):
        """Return how much a market order takes at most; index 0 sells, 1 buys."""
        if self.p.market_order_size == 0:
            return math.inf
        return -self.p.market_order_size * math.log((self.block(2)[2 + index] + 0.5) / 2**32)

    def taker_price(self, touch, side, size, half):
        """Walk the book level by level."""
        p = self.p
        if p.level_depth == 0:
            return touch
        cost, left, level = 0.0, size, 0
        while left > 0:
            part = min(left, p.level_depth)
            cost += part * (touch + side * level * p.level_spacing * half)
            left, level = left - part, level + 1
        return cost / size

    def decided(self, action, side):
        """Return the absolute price that an action asks for: None for no quote, infinitely good for a crossing one."""
        p = self.p
        known = self.prices[max(0, len(self.prices) - 1 - p.data_latency)]
        if action >= 1:
            return None
        if action <= -1:
            return side * math.inf
        offset = p.offset_low + (action + 1) / 2 * (p.offset_high - p.offset_low)
        return known - side * offset * known * p.spread / 2

    def latency(self):
        p = self.p
        if p.order_latency_jitter == 0:
            return p.order_latency
        nominal = p.volatility * math.sqrt(1 + p.microstructure_noise**2)
        move = self.prices[-1] / self.prices[-2] - 1 if len(self.prices) > 1 else 0.0
        u = (self.block(4)[0] + 0.5) / 2**32
        extra = p.order_latency_jitter * (u ** (-1 / p.order_latency_tail) - 1) * abs(move) / nominal
        return p.order_latency + int(min(extra, p.order_latency_longest - p.order_latency))

    def in_force(self, decision):
        """Return the orders that are in the market now: [price, size left] of the bid and of the ask."""
        self.decisions.append(decision)
        lag = min(self.lag + 1, self.latency())
        self.arriving = lag <= self.lag
        if lag > self.age:
            self.orders = [[None, 0.0], [None, 0.0]]
        elif lag <= self.lag:  # a newer decision has arrived
            self.orders = [list(order) for order in self.decisions[-1 - lag]]
        self.lag = lag
        return self.orders

    def trade(self, order, u, side):
        """Return (units, price, fee, the quote if it rests, what is left of it)."""
        p, mid = self.p, self.prices[-1]
        half = mid * p.spread / 2
        price, size = order
        size = min(size, max(0.0, p.inventory_limit - side * self.inventory))
        touch = mid + side * half
        crosses = self.arriving and price is not None and side * (price - touch) >= 0
        if crosses:
            order[1] = size  # what the limit cuts off is not sent
        if price is None or size == 0:
            return 0.0, 0.0, 0.0, None, 0.0
        if crosses:
            taken = self.taker_price(touch, side, size, half)
            return size, taken, size * taken * p.taker_fee_bps / 1e4, None, 0.0
        if self.filled(side * (mid - price) / half, u, side):
            part = min(size, self.market_order(0 if side > 0 else 1))
            return part, price, part * price * p.maker_fee_bps / 1e4, price, size - part
        return 0.0, 0.0, 0.0, price, size

    def swept(self, price, left, side, new_mid):
        """Return what the move of the mid fills of a resting quote."""
        new_touch = new_mid + side * new_mid * self.p.spread / 2
        passed = self.p.trade_through and price is not None and side * (price - new_touch) >= 0
        return left if passed else 0.0

    def step(self, action):
        p, mid = self.p, self.prices[-1]
        action = [float(np.float32(a)) for a in action]
        sizes = [p.order_size * (a + 1) / 2 for a in action[2:]] or [p.order_size] * 2
        z1, z2, u_bid, u_ask = self.draws(0)
        decision = ((self.decided(action[0], 1.0), sizes[0]), (self.decided(action[1], -1.0), sizes[1]))
        orders = self.in_force(decision)
        self.age += 1
        bought, bid_price, bid_fee, bid, bid_left = self.trade(orders[0], u_bid, 1.0)
        sold, ask_price, ask_fee, ask, ask_left = self.trade(orders[1], u_ask, -1.0)
        equity_before = self.cash + self.inventory * mid
        self.excite(1.0, u_bid)
        self.excite(-1.0, u_ask)
        new_mid = self.moved(mid, z1, z2)

        fees = bid_fee + ask_fee
        capture = bought * (mid - bid_price) + sold * (ask_price - mid)
        self.cash += sold * ask_price - bought * bid_price - fees
        self.inventory += bought - sold
        inventory_pnl = self.inventory * (new_mid - mid)
        for quote, left, side in ((bid, bid_left, 1.0), (ask, ask_left, -1.0)):
            late = self.swept(quote, left, side, new_mid)
            if late:
                late_fee = late * quote * p.maker_fee_bps / 1e4
                self.cash -= side * late * quote + late_fee
                self.inventory += side * late
                capture += side * late * (new_mid - quote)
                fees += late_fee
                bought, sold = bought + late * (side > 0), sold + late * (side < 0)
        orders[0][1] -= bought
        orders[1][1] -= sold
        self.bought, self.sold = bought, sold
        self.prices.append(new_mid)
        self.tick += 1
        equity = self.cash + self.inventory * new_mid
        half = new_mid * p.spread / 2
        terminated = self.tick >= p.horizon or equity <= 0
        return self.observation(), {
            "mid": new_mid,
            "bid": new_mid - half,
            "ask": new_mid + half,
            "inventory": self.inventory,
            "cash": self.cash,
            "equity": equity,
            "fill_bid": bought,
            "fill_ask": sold,
            "fees": fees,
            "spread_capture": capture,
            "inventory_pnl": inventory_pnl,
            "reward": self.reward(equity_before, equity, inventory_pnl, terminated),
            "terminated": terminated,
        }

    def reward(self, before, after, inventory_pnl, terminated):
        p = self.p
        worth = after - before
        if p.reward == "martingale_free":
            worth -= inventory_pnl
        elif p.reward == "cara":
            worth = math.exp(-p.risk_aversion * (before - p.initial_cash))
            worth = (worth - math.exp(-p.risk_aversion * (after - p.initial_cash))) / p.risk_aversion
        end = p.terminal_penalty * p.half_spread * self.inventory**2 if terminated else 0.0
        return worth - p.phi * self.inventory**2 - end

    def observation(self):
        p = self.p
        nominal = p.volatility * math.sqrt(1 + p.microstructure_noise**2)
        zscore = volatility = momentum = last = 0.0
        known = self.prices[: max(1, len(self.prices) - p.data_latency)]
        if len(known) > 1 and nominal > 0:
            last = (known[-1] / known[-2] - 1) / nominal
        if len(known) >= p.window:
            window = np.array(known[-p.window :])
            if window.std() > 0:
                zscore = (window[-1] - window.mean()) / window.std()
            if nominal > 0:
                volatility = np.std(window[1:] / window[:-1] - 1) / nominal - 1
                momentum = (window[-1] / window[0] - 1) / (nominal * math.sqrt(p.window - 1))
        values = [
            self.inventory / p.inventory_limit,
            1 - 2 * self.tick / p.horizon,
            zscore / 5,
            volatility,
            last / 5,
            momentum / 5,
            self.bought,
            self.sold,
        ]
        return np.clip(values, -1, 1)
