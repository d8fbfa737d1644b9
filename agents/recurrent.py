"""The LSTM policy of RecurrentPPO: sb3-contrib's, made to remember from the start and computed in whole sequences."""

from typing import Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor

from agents.ppo_config import RecurrentConfig
from hftgym.observation import N_FEATURES

# Added to the forget gate's bias: at the start of the training a memory lasts for eight ticks instead of two.
_FORGET_BIAS = 2.0


class LstmPolicy(RecurrentActorCriticPolicy):
    """An LSTM policy whose layers read h and, behind it, the observation: the LSTM has to carry nothing but the past.

    What stands behind the eight features of the observation is for the value function alone.

    Sequences run through the LSTM in one call. sb3-contrib's own policy steps through them one by one as soon as an
    episode starts anywhere in the batch. It need not: its buffer cuts sequences where episodes start, so that there is
    a start in front of a sequence and nowhere else.

    Args:
        observation_space: Of flat observations.
        action_space: Of the environment.
        lr_schedule: Learning rate by the share of the budget that is left.
        **arguments: As of sb3-contrib's policy.
    """

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, **arguments: Any) -> None:
        super().__init__(observation_space, action_space, lr_schedule, **arguments)
        if self.critic is not None:
            self.critic = torch.nn.Linear(self.features_dim, self.lstm_output_dim + N_FEATURES)
        self.lstm_actor = torch.nn.LSTM(N_FEATURES, self.lstm_output_dim, **self.lstm_kwargs)
        _, forget, _, _ = self.lstm_actor.get_parameter("bias_hh_l0").data.chunk(4)
        forget += _FORGET_BIAS
        rate = {"lr": lr_schedule(1)}
        self.optimizer = self.optimizer_class(self.parameters(), **rate, **self.optimizer_kwargs)

    def _build_mlp_extractor(self) -> None:
        """Build layers that are as wide as h and the observation together."""
        width = self.lstm_output_dim + N_FEATURES
        self.mlp_extractor = MlpExtractor(width, self.net_arch, self.activation_fn, device=self.device)

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: torch.nn.LSTM,
    ) -> tuple[torch.Tensor, Any]:
        """Return (h and the observation of every step, new (h, c)) of sequences that lie one after the other.

        Args:
            features: (sequences * length, 8 + k), padded to the longest sequence.
            lstm_states: h and c before the sequences, (1, sequences, lstm_size).
            episode_starts: (sequences * length,), 1 where an episode starts.
            lstm: The LSTM.
        """
        count = lstm_states[0].shape[1]
        seen = features[:, : lstm.input_size]
        sequences = seen.reshape((count, -1, lstm.input_size)).swapaxes(0, 1)
        starts = (episode_starts.reshape((count, -1))[:, 0] > 0).view(1, count, 1)
        # Not multiplied: what is no number is forgotten too.
        h, c = (torch.where(starts, torch.zeros(()), state) for state in lstm_states)
        outputs, states = lstm(sequences, (h, c))
        outputs = torch.flatten(outputs.transpose(0, 1), start_dim=0, end_dim=1)
        return torch.cat([outputs, seen], dim=1), states


def lstm_arguments(config: RecurrentConfig) -> dict[str, Any]:
    """Return the arguments of `LstmPolicy` that an MLP policy has not.

    A value function with an LSTM of its own, or a share in the policy's, learned far slower on MarketMakingAlpha-v0.
    """
    return {"lstm_hidden_size": config.lstm_size, "enable_critic_lstm": False}
