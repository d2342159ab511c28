// Written by scripts/api-types.mjs from the service's OpenAPI document. Do not edit.

export interface paths {
    "/api/predict": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Predict
         * @description Forecast the price up to one hour after a given time, with intervals, and the actual price where it is known.
         */
        get: operations["predict_api_predict_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/path": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Path
         * @description Forecast every horizon from the last closed minute: the path of the next hour, as a chart draws it.
         */
        get: operations["get_path_api_path_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/accuracy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Accuracy
         * @description Score the forecasts that were made before their time was over, by day and in total, with a significance test and the backtest for comparison.
         */
        get: operations["get_accuracy_api_accuracy_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get History
         * @description List the prices of the last hours and the forecast that was recorded for each of them, as a chart needs them.
         */
        get: operations["get_history_api_history_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Stream
         * @description Server-sent events: price (a PriceTick, once a second at most), forecast (a PredictionAnswer), path (a Path, once a minute at most) and scored.
         */
        get: operations["get_stream_api_stream_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/coins": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Coins
         * @description List the coins that are served.
         */
        get: operations["get_coins_api_coins_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Overview
         * @description Every coin at a glance: price, move over 24 hours, forecast, interval width, accuracy of the last 30 days, champion.
         */
        get: operations["get_overview_api_overview_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Models
         * @description List the models of a horizon: versions, aliases, training spans, metrics, the time of the last training, and the last decision with its reasons.
         */
        get: operations["get_models_api_models_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Live
         * @description Report that the process is alive.
         */
        get: operations["live_health_live_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Ready
         * @description Report whether forecasts can be answered, for how many coins, and any problems. The service is ready as soon as one coin's candles are there.
         */
        get: operations["ready_health_ready_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Accuracy
         * @description Scores of one kind of model for one coin.
         */
        Accuracy: {
            /**
             * N
             * @description Number of scored forecasts; only those made before their hour was over count
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description Mean absolute error of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than persistence
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose direction was predicted
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts whose price is not known yet
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours without trades
             */
            without_trades: number;
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the model; forecasts of all its versions count
             */
            model: string;
            /**
             * Model Version
             * @description The current version
             */
            model_version: string;
            /** Source */
            source: string;
            /**
             * Mode
             * @enum {string}
             */
            mode: "hour" | "rolling" | "minute";
            /**
             * Horizon Minutes
             * @description Minutes ahead of the forecasts that count
             */
            horizon_minutes: number;
            /**
             * Minute
             * @description Minute of the hour at which these forecasts were made; null for all of them
             */
            minute: number | null;
            /**
             * Mase As Issued
             * @description mae divided by the mean absolute error of the price that was current when each forecast was made; null where that price was not recorded
             */
            mase_as_issued: number | null;
            /**
             * Lateness
             * @description Median of the seconds from data_until to the moment at which a forecast was made; null where not recorded
             */
            lateness: number | null;
            /**
             * Size
             * @description Multiple of the model's own median in force, null for models of whole hours
             */
            size: number | null;
            /**
             * Days
             * @description Number of days; for days=all, days since the first forecast
             */
            days: number;
            /**
             * Since
             * @description Start of the first day, null without forecasts
             */
            since: string | null;
            /**
             * By Day
             * @description Oldest first
             */
            by_day: components["schemas"]["DayScore"][];
            /** @description Scores of the current version only */
            this_version: components["schemas"]["Score"];
            /** @description Backtest of the current version */
            backtest: components["schemas"]["BacktestSummary"];
            /**
             * Dm T
             * @description Diebold-Mariano statistic of the absolute errors against those of 'no change' over the n forecasts (Newey-West, 24 lags); negative when the model is better; null for persistence, for mode=rolling and where nothing differs
             */
            dm_t: number | null;
            /**
             * Dm P
             * @description Probability of such a dm_t or a lower one if the model were as good as 'no change' (normal approximation)
             */
            dm_p: number | null;
            /** @description Range of chance for this number of forecasts; null without dm_t and below 50 forecasts */
            luck: components["schemas"]["Luck"] | null;
        };
        /**
         * AccuracyAnswer
         * @description Response of GET /api/accuracy.
         */
        AccuracyAnswer: {
            accuracy: components["schemas"]["Accuracy"];
        };
        /**
         * BacktestSummary
         * @description The model's scores on hours that it had not seen in training.
         */
        BacktestSummary: {
            /**
             * Mase
             * @description Mean absolute error divided by that of 'no change'; below 1 is better than persistence, null where not measured
             */
            mase: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval, null where not measured
             */
            coverage_90: number | null;
        };
        /**
         * CoinCount
         * @description How many coins can be answered.
         */
        CoinCount: {
            /**
             * Ready
             * @description Coins whose candles have been received
             */
            ready: number;
            /**
             * Of
             * @description Coins that are served
             */
            of: number;
        };
        /**
         * CoinInfo
         * @description A coin that the service forecasts.
         */
        CoinInfo: {
            /** Coin */
            coin: string;
            /**
             * Source
             * @description Source of its candles
             */
            source: string;
            /**
             * Champion
             * @description Kind of the model that answers by default
             */
            champion: string;
            /** Champion Version */
            champion_version: string;
            /**
             * Models
             * @description Values of model_name for this coin
             */
            models: string[];
            /**
             * Horizons
             * @description Values of horizon for this coin, in minutes
             * @example [
             *       5,
             *       15,
             *       30,
             *       60
             *     ]
             */
            horizons: number[];
            /**
             * Data Until
             * @description End of the last closed hour, null until candles have been received
             */
            data_until: string | null;
        };
        /**
         * CoinOverview
         * @description The price of a coin, the forecast of its champion, and how good that has been.
         */
        CoinOverview: {
            /** Coin */
            coin: string;
            /**
             * Ready
             * @description Whether its candles have been received, so that a forecast can be answered
             */
            ready: boolean;
            /**
             * New
             * @description True while the coin has too few hours to judge its model: it is that of the other coins, or persistence
             */
            new: boolean;
            /**
             * Price
             * @description Close at data_until
             */
            price: number | null;
            /**
             * Move 24H
             * @description Move of the price over the 24 hours before data_until, as a fraction; null where the first price is unknown
             */
            move_24h: number | null;
            /**
             * Data Until
             * @description End of the last closed hour that has been received
             */
            data_until: string | null;
            /**
             * Stale
             * @description True when newer hours are final and have not been received yet
             */
            stale: boolean;
            /**
             * Champion
             * @description Kind of the model that answers by default
             */
            champion: string;
            /** Champion Version */
            champion_version: string;
            /**
             * Predicted For
             * @description Time of the predicted price; null until the champion has made a forecast
             */
            predicted_for: string | null;
            /**
             * Predicted Price
             * @description Median of the champion's last forecast, as it was made
             */
            predicted_price: number | null;
            /**
             * Difference Bps
             * @description Predicted move, in basis points (hundredths of a percent) of the price at its start
             */
            difference_bps: number | null;
            /**
             * Volatility Bps
             * @description Expected standard deviation of the move, in basis points
             */
            volatility_bps: number | null;
            /**
             * Interval Width Bps
             * @description Width of the 90 % interval, in basis points of that price
             */
            interval_width_bps: number | null;
            /**
             * Live Mase
             * @description mase of the champion's recorded forecasts of the last 30 days, null where none is scored
             */
            live_mase: number | null;
            /**
             * Live Forecasts
             * @description Number of these forecasts
             */
            live_forecasts: number;
        };
        /**
         * Coins
         * @description Response of GET /api/coins.
         */
        Coins: {
            /** Coins */
            coins: components["schemas"]["CoinInfo"][];
        };
        /**
         * DayScore
         * @description Scores of one day.
         */
        DayScore: {
            /**
             * N
             * @description Number of scored forecasts; only those made before their hour was over count
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description Mean absolute error of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than persistence
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose direction was predicted
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts whose price is not known yet
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours without trades
             */
            without_trades: number;
            /**
             * Day
             * @description Date, UTC
             * @example 2024-01-31
             */
            day: string;
        };
        /**
         * Health
         * @description State of the service.
         */
        Health: {
            /**
             * Status
             * @example live
             * @example ready
             */
            status: string;
            /**
             * Problems
             * @description Problems that do not keep the service from answering
             */
            problems: string[];
            /** @description How many coins can be answered already; null in /health/live, and where none can */
            coins: components["schemas"]["CoinCount"] | null;
        };
        /**
         * History
         * @description Prices and the forecasts that were recorded for them.
         */
        History: {
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the current model; forecasts of all its versions are listed
             */
            model: string;
            /**
             * Model Version
             * @description The current version
             */
            model_version: string;
            /** Source */
            source: string;
            /**
             * Horizon Minutes
             * @description Minutes ahead of the forecasts
             */
            horizon_minutes: number;
            /**
             * Until
             * Format: date-time
             * @description End of the last closed hour; below an hour ahead, of the last closed quarter of an hour
             * @example 2024-01-31T15:00:00Z
             */
            until: string;
            /**
             * Stale
             * @description True when the exchange is unavailable and newer prices are missing
             */
            stale: boolean;
            /**
             * Prices
             * @description Oldest first; the last one is at until. Hours, or quarters of an hour, without trades are absent
             */
            prices: components["schemas"]["PastPrice"][];
            /**
             * Forecasts
             * @description Oldest first, up to the coming one. Times without a forecast are absent
             */
            forecasts: components["schemas"]["RecordedForecast"][];
        };
        /**
         * HistoryAnswer
         * @description Response of GET /api/history.
         */
        HistoryAnswer: {
            history: components["schemas"]["History"];
        };
        /**
         * Interval
         * @description A range that contains the price with probability `level`.
         */
        Interval: {
            /**
             * Level
             * @description Nominal probability that the price lies within the range
             */
            level: number;
            /** Low */
            low: number;
            /** High */
            high: number;
        };
        /**
         * Luck
         * @description The range that chance alone produces, for forecasts exactly as good as 'no change' over as many hours with the same error variance.
         */
        Luck: {
            /**
             * Share
             * @description Share of samples within the bounds below
             * @example 0.9
             */
            share: number;
            /**
             * T
             * @description Bound of the absolute value of dm_t; beyond it the difference is significant
             */
            t: number;
            /**
             * Mase Low
             * @description Lower bound of mase
             */
            mase_low: number;
            /**
             * Mase High
             * @description Upper bound of mase
             */
            mase_high: number;
            /**
             * Hours For One Percent
             * @description Number of hours after which an advantage of one percent exceeds the bound with probability one half
             */
            hours_for_one_percent: number;
        };
        /**
         * ModelInfo
         * @description The exported models of one coin, and which of them are in use.
         */
        ModelInfo: {
            /**
             * Name
             * @description Registered name, source.product
             */
            name: string;
            /** Coin */
            coin: string;
            /** Source */
            source: string;
            /**
             * Horizon Minutes
             * @description Minutes ahead of the models that are listed
             */
            horizon_minutes: number;
            /**
             * Versions
             * @description Kind, training span and metrics by version
             */
            versions: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            /**
             * Aliases
             * @description Version of each alias in the registry
             */
            aliases: {
                [key: string]: string;
            };
            /**
             * Serving
             * @description Version that answers for each alias; it differs from aliases only where faults says why
             */
            serving: {
                [key: string]: string;
            };
            /**
             * Faults
             * @description Why a version is not used
             */
            faults: {
                [key: string]: string;
            };
            /** Last Retrained */
            last_retrained: string | null;
            /**
             * Last Decision
             * @description Whether the last challenger was promoted, and the reasons
             */
            last_decision: {
                [key: string]: unknown;
            } | null;
            /**
             * Last Event
             * @description The last event: event (promoted, refused or rolled_back), kind, version, previous_version, reasons and time; null for bundles exported before events were recorded
             */
            last_event: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * Models
         * @description Response of GET /api/models.
         */
        Models: {
            /** Models */
            models: components["schemas"]["ModelInfo"][];
        };
        /**
         * Overview
         * @description Response of GET /api/overview.
         */
        Overview: {
            /**
             * Source
             * @description Source of the candles
             */
            source: string;
            /**
             * Horizon Minutes
             * @description Minutes ahead of the forecasts
             */
            horizon_minutes: number;
            /**
             * Coins
             * @description Every coin that is served, those of the settings first
             */
            coins: components["schemas"]["CoinOverview"][];
        };
        /**
         * PastPrice
         * @description A closing price.
         */
        PastPrice: {
            /**
             * Time
             * Format: date-time
             * @description End of the hour, or of the quarter of an hour
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Close */
            close: number;
        };
        /**
         * Path
         * @description The forecasts of all horizons from the last closed minute; also the event `path` of the stream.
         */
        Path: {
            /** Coin */
            coin: string;
            /**
             * Source
             * @description Source of the candles
             */
            source: string;
            /**
             * Data Until
             * Format: date-time
             * @description End of the last closed minute
             * @example 2024-01-31T15:00:00Z
             */
            data_until: string;
            /**
             * Current Price
             * @description Close at data_until
             */
            current_price: number;
            /**
             * Provisional
             * @description True while the last candle is built from live trades and the exchange's REST API has not confirmed it
             */
            provisional: boolean;
            /**
             * Issued After
             * @description Seconds after data_until at which the path was computed
             */
            issued_after: number;
            /**
             * Stale
             * @description True when the exchange is unavailable and newer minutes are missing
             */
            stale: boolean;
            /**
             * Lacking
             * @description What is missing, as sentences: horizons without a model, history that is still being fetched
             */
            lacking: string[];
            /**
             * Points
             * @description Nearest first
             */
            points: components["schemas"]["PathPoint"][];
        };
        /**
         * PathAnswer
         * @description Response of GET /api/path.
         */
        PathAnswer: {
            path: components["schemas"]["Path"];
        };
        /**
         * PathPoint
         * @description The forecast for one time of a path.
         */
        PathPoint: {
            /**
             * Horizon Minutes
             * @description Minutes from data_until to predicted_for
             * @example 15
             */
            horizon_minutes: number;
            /**
             * Predicted For
             * Format: date-time
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /**
             * Model
             * @description Kind of the model; persistence where no model of this horizon is in use
             */
            model: string;
            /** Model Version */
            model_version: string;
            /**
             * Predicted Price
             * @description Median forecast
             */
            predicted_price: number;
            /**
             * Difference Bps
             * @description The predicted move in basis points (hundredths of a percent) of current_price
             */
            difference_bps: number;
            /** @description 90 % interval */
            interval: components["schemas"]["Interval"];
            /** @description 50 % interval */
            interval_50: components["schemas"]["Interval"];
            volatility: components["schemas"]["Volatility"];
            /**
             * Probability Up
             * @description Probability that the price rises; between 0.05 and 0.95
             */
            probability_up: number;
            /**
             * Size
             * @description Multiple of the model's own median that is used; null for a model of whole hours
             */
            size: number | null;
        };
        /**
         * PredictionAnswer
         * @description Response of GET /api/predict.
         */
        PredictionAnswer: {
            prediction: components["schemas"]["PredictionResult"];
        };
        /**
         * PredictionResult
         * @description The forecast of a price within the next hour, with its context.
         */
        PredictionResult: {
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the model
             */
            model: string;
            /** Model Version */
            model_version: string;
            /**
             * Source
             * @description Source of the candles
             */
            source: string;
            /**
             * Mode
             * @description hour: made from whole hours; minute: made from one-minute candles by a model of this horizon; rolling (experimental): made by the model of whole hours from hours that end at any minute
             * @enum {string}
             */
            mode: "hour" | "rolling" | "minute";
            /**
             * Horizon Minutes
             * @description Minutes from data_until to predicted_for
             * @example 60
             */
            horizon_minutes: number;
            /**
             * Request Time
             * Format: date-time
             * @description Time of the request by the exchange's clock
             * @example 2024-01-31T15:00:00Z
             */
            request_time: string;
            /**
             * Data Until
             * Format: date-time
             * @description End of the last closed hour that the forecast uses; of the last closed minute in the modes minute and rolling
             * @example 2024-01-31T15:00:00Z
             */
            data_until: string;
            /**
             * Predicted For
             * Format: date-time
             * @description Time of the predicted price, horizon_minutes after data_until
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /**
             * Provisional
             * @description True while the last candle is built from live trades and the exchange's REST API has not confirmed it
             */
            provisional: boolean;
            /**
             * Issued After
             * @description Seconds after data_until at which the forecast was made; null for a forecast of the past
             */
            issued_after: number | null;
            /**
             * Current Price
             * @description Close at data_until
             */
            current_price: number;
            /**
             * Predicted Price
             * @description Median forecast
             */
            predicted_price: number;
            /**
             * Difference
             * @description predicted_price - current_price
             */
            difference: number;
            /**
             * Difference Bps
             * @description The difference in basis points (hundredths of a percent) of current_price
             */
            difference_bps: number;
            /** @description 90 % interval */
            interval: components["schemas"]["Interval"];
            /** @description 50 % interval */
            interval_50: components["schemas"]["Interval"];
            volatility: components["schemas"]["Volatility"];
            /**
             * Probability Up
             * @description Probability that the price rises, from the calibrated quantiles; between 0.05 and 0.95
             * @example 0.53
             */
            probability_up: number;
            /**
             * Size
             * @description Multiple of the model's own median that is used, chosen on its recorded forecasts: 0 is no change, 1 the whole median; null in the modes hour and rolling
             */
            size: number | null;
            /**
             * Past 24 Hour Prices
             * @description Closing prices, oldest first; the last one is at data_until
             */
            past_24_hour_prices: components["schemas"]["PastPrice"][];
            /**
             * Actual Price
             * @description Price at predicted_for, null until it is known
             */
            actual_price: number | null;
            /**
             * Stale
             * @description True when the exchange is unavailable and newer hours are missing
             */
            stale: boolean;
            /**
             * Unusual Hours
             * @description Ends of the hours of the last week whose return exceeds 12 volatilities: a wrong price, a redenomination, or news
             */
            unusual_hours: string[];
            backtest: components["schemas"]["BacktestSummary"];
            /**
             * New
             * @description True while the coin has too few hours to judge the model: it is that of the other coins, or persistence
             */
            new: boolean;
        };
        /**
         * Problem
         * @description Problem details as RFC 9457 defines them.
         */
        Problem: {
            /**
             * Type
             * @description Kind of problem; about:blank where the status is sufficient
             */
            type: string;
            /** Title */
            title: string;
            /** Status */
            status: number;
            /**
             * Detail
             * @description What was wrong with this request, and how to correct it
             */
            detail: string;
        };
        /**
         * RecordedForecast
         * @description A recorded forecast and the actual price.
         */
        RecordedForecast: {
            /**
             * Predicted For
             * Format: date-time
             * @description Time of the predicted price
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /**
             * Predicted Price
             * @description Median forecast
             */
            predicted_price: number;
            /**
             * Current Price
             * @description The close from which the forecast was made
             */
            current_price: number;
            /** @description 90 % interval */
            interval: components["schemas"]["Interval"];
            /** @description 50 % interval */
            interval_50: components["schemas"]["Interval"];
            /**
             * Actual Price
             * @description Price at predicted_for, null until it is known
             */
            actual_price: number | null;
            /** Model Version */
            model_version: string;
            /**
             * Requested
             * Format: date-time
             * @description When the forecast was made, by the exchange's clock
             * @example 2024-01-31T15:00:00Z
             */
            requested: string;
            /**
             * Late
             * @description True when it was made after the time of the predicted price, because of an outage; such forecasts are not scored
             */
            late: boolean;
        };
        /**
         * Score
         * @description Scores of recorded forecasts; null where they are not defined.
         */
        Score: {
            /**
             * N
             * @description Number of scored forecasts; only those made before their hour was over count
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description Mean absolute error of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than persistence
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose direction was predicted
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts whose price is not known yet
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours without trades
             */
            without_trades: number;
        };
        /**
         * Volatility
         * @description How far the price is expected to move, in either direction.
         */
        Volatility: {
            /**
             * Bps
             * @description Standard deviation of the log return over the horizon, in basis points (hundredths of a percent)
             */
            bps: number;
            /**
             * Annualised
             * @description The same for a year, as a fraction
             * @example 0.52
             */
            annualised: number;
            /**
             * Rank 30D
             * @description Share of the forecasts of this horizon in the last 30 days that expected less; null until a week of them is known
             * @example 0.8
             */
            rank_30d: number | null;
        };
        /**
         * RunningHour
         * @description The candle of the hour that has not closed yet.
         */
        RunningHour: {
            /**
             * Time
             * Format: date-time
             * @description Start of the hour
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Open */
            open: number;
            /** High */
            high: number;
            /** Low */
            low: number;
            /** Close */
            close: number;
            /** Volume */
            volume: number;
            /**
             * Whole
             * @description Whether all trades of the hour so far are known to be included
             */
            whole: boolean;
        };
        /**
         * PriceTick
         * @description Event `price`: the last trade, at most one a second.
         */
        PriceTick: {
            /** Coin */
            coin: string;
            /**
             * Time
             * Format: date-time
             * @description Time of the trade
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Price */
            price: number;
            /**
             * Via
             * @description Source of the price: websocket, or rest while the websocket is unavailable
             */
            via: string;
            hour: components["schemas"]["RunningHour"];
        };
        /**
         * ScoredForecast
         * @description Event `scored`: a forecast whose hour has closed.
         */
        ScoredForecast: {
            /** Coin */
            coin: string;
            /** Model */
            model: string;
            /** Model Version */
            model_version: string;
            /**
             * Predicted For
             * Format: date-time
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /** Predicted Price */
            predicted_price: number;
            /** Actual Price */
            actual_price: number;
            /** Abs Error */
            abs_error: number;
            /**
             * Persistence Error
             * @description Absolute error of 'no change'
             */
            persistence_error: number;
            /** Inside 50 */
            inside_50: boolean;
            /** Inside 90 */
            inside_90: boolean;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    predict_api_predict_get: {
        parameters: {
            query: {
                /** @description Product name, as listed by /api/coins */
                coin: string;
                /** @description now, a number of hours back from 1 to 72, or an ISO 8601 time (UTC), which is floored to the hour, or to the minute below an hour ahead; rolling (experimental) forecasts from the last closed minute */
                time_from?: string;
                /** @description champion, persistence, or a kind of model, as listed by /api/models */
                model_name?: string;
                /** @description Minutes ahead: 5, 15, 30 or 60, as listed by /api/coins */
                horizon?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PredictionAnswer"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough history at that time */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_path_api_path_get: {
        parameters: {
            query: {
                /** @description Product name, as listed by /api/coins */
                coin: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PathAnswer"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough history at that time */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_accuracy_api_accuracy_get: {
        parameters: {
            query: {
                /** @description Product name, as listed by /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model, as listed by /api/models */
                model_name?: string;
                /** @description Number of days back, 1 to 3650, or all for the whole ledger */
                days?: string;
                /** @description hour, or rolling for forecasts from any minute */
                mode?: string;
                /** @description Minutes ahead: 5, 15, 30 or 60, as listed by /api/coins */
                horizon?: string;
                /** @description Below an hour ahead: quarter of the hour of the forecasts, 0, 15, 30 or 45, or all */
                minute?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccuracyAnswer"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_history_api_history_get: {
        parameters: {
            query: {
                /** @description Product name, as listed by /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model, as listed by /api/models */
                model_name?: string;
                /** @description Number of hours back, 1 to 720 */
                hours?: string;
                /** @description Minutes ahead: 5, 15, 30 or 60, as listed by /api/coins */
                horizon?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HistoryAnswer"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_stream_api_stream_get: {
        parameters: {
            query: {
                /** @description Product name, as listed by /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model, as listed by /api/models */
                model_name?: string;
                /** @description now for a forecast at each closed hour, rolling (experimental) for one each minute */
                time_from?: string;
                /** @description Id of the last event received, to resume after it; the header Last-Event-ID takes precedence */
                last_event_id?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough history at that time */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_coins_api_coins_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Coins"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_overview_api_overview_get: {
        parameters: {
            query?: {
                /** @description Minutes ahead: 5, 15, 30 or 60, as listed by /api/coins */
                horizon?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            /** @description Nothing has changed since the answer whose ETag was sent */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_models_api_models_get: {
        parameters: {
            query?: {
                /** @description Minutes ahead: 5, 15, 30 or 60, as listed by /api/coins */
                horizon?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Models"];
                };
            };
            /** @description The API key is missing or unknown, where the service requires one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Rate limit of this client exceeded; see Retry-After */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    live_health_live_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    ready_health_ready_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Candles, model or ledger not available; see Retry-After */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
